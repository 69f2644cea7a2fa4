"""What the trained variants cost, timed in turn, and what their gates do."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from senet.analysis.excitation import Panel, excitation_curves
from senet.analysis.record import gate_paths, record_excitations
from senet.comparison.variants import Variant
from senet.data.loaders import eval_loader
from senet.data.source import DataSource
from senet.measuring.steps import AUTOCAST, InferenceStep, TrainingStep
from senet.measuring.timing import interleave, ratio
from senet.models.create import from_pretrained
from senet.profiling import profile
from senet.recipe import Recipe
from senet.results.cost import Duration, VariantCost
from senet.tasks.classification import Classification
from senet.training.optim import build_sgd
from senet.training.processes import limited_threads

ROUNDS = 31
SECONDS = 8.0
"""No new round of timing begins after so long; three always run."""


def measure_costs(variants: Sequence[Variant], weights: Sequence[Path], sources: Sequence[DataSource]) -> list[VariantCost]:
    """Count parameters and MACs, and time the forward pass of one image and the training step of one batch, all variants in turn.

    Args:
        variants: what to measure; the first is the baseline.
        weights: trained weights of each.
        sources: the images of each: only their size counts, timing uses noise.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labels = [variant.label for variant in variants]
    networks = [from_pretrained(path, device=device) for path in weights]
    sizes = [(source.input.channels, source.input.size, source.input.size) for source in sources]
    counted = [profile(network, (1, *size), latency=False) for network, size in zip(networks, sizes, strict=True)]
    forwards = [InferenceStep(network.eval(), (_noise(network, (1, *size)),)) for network, size in zip(networks, sizes, strict=True)]
    pixels = max(height * width for _, height, width in sizes)
    with limited_threads(pixels):
        latencies = interleave(dict(zip(labels, forwards, strict=True)), rounds=ROUNDS, max_seconds=SECONDS)
    stepping = [
        _training_step(network, variant.recipe, size, len(source.classes))
        for network, variant, size, source in zip(networks, variants, sizes, sources, strict=True)
    ]
    with limited_threads(pixels * max(variant.recipe.data.batch_size for variant in variants)):
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


def measure_excitations(variant: Variant, weights: Path, source: DataSource) -> tuple[Panel, ...]:
    """Record the gates on all validation images; a network without channel gates gives nothing."""
    network = from_pretrained(weights, device="cuda" if torch.cuda.is_available() else "cpu")
    if not gate_paths(network):
        return ()
    return excitation_curves(record_excitations(network, eval_loader(source, variant.recipe.data)))


def _training_step(network: nn.Module, recipe: Recipe, size: tuple[int, ...], classes: int) -> TrainingStep:
    plan, batch = recipe.training, recipe.data.batch_size
    network.to(memory_format=torch.channels_last if plan.channels_last else torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    images = _noise(network, (batch, *size))
    if plan.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=images.device) % classes
    optimizer, task = build_sgd(network, recipe.optim), Classification(plan.label_smoothing)
    autocast = AUTOCAST[plan.precision]

    def loss(outputs: Tensor) -> Tensor:
        return task.loss(outputs, labels)["loss"]

    return TrainingStep(network.train(), (images,), loss, optimizer=optimizer, autocast=autocast)


def _noise(network: nn.Module, size: tuple[int, ...]) -> Tensor:
    device = next(network.parameters()).device
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device)
