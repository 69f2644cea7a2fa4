"""What the trained variants cost, timed in turn, and what their gates do."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from senet.analysis.excitation import Panel, excitation_curves
from senet.analysis.record import gate_paths, record_excitations
from senet.comparison.prepare import PreparedVariant
from senet.data.loaders import eval_loader
from senet.devices import default_device
from senet.measuring.steps import AUTOCAST, InferenceStep, TrainingStep
from senet.measuring.timing import interleave, ratio
from senet.models.create import from_pretrained
from senet.profiling.profiler import total_cost
from senet.results.cost import Duration, VariantCost
from senet.tasks.answers import inputs_of, losses_of, noise_of
from senet.tasks.labelled import labelled_images
from senet.training.job import layout_of
from senet.training.optim import build_optimizer
from senet.training.processes import limited_threads
from senet.training.unfreezing import Unfreezing

ROUNDS = 31
SECONDS = 8.0
"""No new round of timing begins after so long; three always run."""


def measure_costs(prepared: Sequence[PreparedVariant], weights: Sequence[Path]) -> list[VariantCost]:
    """Count parameters and MACs, and time the forward pass of one image and the training step of one batch, all variants in turn.

    Args:
        prepared: what to measure; the first is the baseline. Only the size of the images counts: timing uses the task's noise.
        weights: trained weights of each.
    """
    device = default_device()
    labels = [one.variant.label for one in prepared]
    networks = [from_pretrained(path, device=device) for path in weights]
    noise = [noise_of(one.task, one.source, 1).to(device).images for one in prepared]
    images = [image if isinstance(image, Tensor) else torch.stack(image) for image in noise]
    counted = [total_cost(network, tuple(image.shape)) for network, image in zip(networks, images, strict=True)]
    forwards = [InferenceStep(network.eval(), (image,)) for network, image in zip(networks, images, strict=True)]
    pixels = max(image.shape[2] * image.shape[3] for image in images)
    with limited_threads(pixels):
        latencies = interleave(dict(zip(labels, forwards, strict=True)), rounds=ROUNDS, max_seconds=SECONDS)
    stepping = [_training_step(network, one, device) for network, one in zip(networks, prepared, strict=True)]
    with limited_threads(pixels * max(one.variant.recipe.data.batch_size for one in prepared)):
        steps = interleave(dict(zip(labels, stepping, strict=True)), rounds=ROUNDS, max_seconds=SECONDS)
    base = labels[0]
    return [
        VariantCost(
            params=count.params,
            macs=count.macs,
            latency=Duration.of(latencies[label]),
            step=Duration.of(steps[label]),
            latency_ratio=ratio(latencies[label], latencies[base]),
            step_ratio=ratio(steps[label], steps[base]),
        )
        for label, count in zip(labels, counted, strict=True)
    ]


def measure_excitations(prepared: PreparedVariant, weights: Path) -> tuple[Panel, ...]:
    """Record the gates on all validation images, by class where images have some; a network without channel gates gives nothing."""
    network = from_pretrained(weights, device=default_device())
    if not gate_paths(network):
        return ()
    with closing(eval_loader(prepared.source, prepared.variant.recipe.data, prepared.task)) as batches:
        return excitation_curves(record_excitations(network, labelled_images(prepared.task, batches)))


def _training_step(network: nn.Module, prepared: PreparedVariant, device: torch.device) -> TrainingStep:
    recipe, task = prepared.variant.recipe, prepared.task
    layout = layout_of(network, channels_last=recipe.training.channels_last)
    network.to(memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    batch = noise_of(task, prepared.source, recipe.data.batch_size).to(device, layout)

    def loss(outputs: Any) -> Tensor:
        return losses_of(task, outputs, batch.targets)["loss"]

    unfreezing, network = Unfreezing(network, recipe), network.train()
    unfreezing.hold(recipe.training.epochs - 1)
    optimizer, autocast = build_optimizer(network, recipe.optim), AUTOCAST[recipe.training.precision]
    return TrainingStep(network, inputs_of(task, batch.images, batch.targets), loss, optimizer=optimizer, autocast=autocast)
