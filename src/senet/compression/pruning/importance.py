"""How much each channel matters: by the gates that rescale it, by the weights that give it, or by chance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.conv import _ConvTransposeNd

from senet.analysis.record import Excitations, gate_paths, record_excitations
from senet.blocks.kinds import modules_of_blocks
from senet.compression.pruning.channels import ANY_CONVOLUTION, Axis, Channels, axis_sizes
from senet.errors import UsageError
from senet.surgery.duplicate import duplicate
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating

LabelledBatches = Iterable[Sequence[Any]]
ByLayer = Mapping[str, Tensor]
"""Path of a layer -> a score of each of its outputs, float64."""


@dataclass(frozen=True)
class Importance:
    """Importance of the channels of a set.

    Args:
        values: one for each, float64.
        measure: the rank that they come from.
    """

    values: Tensor = field(repr=False)
    measure: str


@dataclass(frozen=True)
class Evidence:
    """Images, loss and seed that channels are judged by.

    Args:
        batches: tuples that begin with images and what is known of them, on any device; None = there are none.
        loss: called with the network's output and what is known of the images; None = cross-entropy.
        seed: of the random rank.
    """

    batches: LabelledBatches | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    seed: int = 0

    def needed_by(self, rank: str) -> LabelledBatches:
        """Return the batches.

        Raises:
            UsageError: if there are none.
        """
        if self.batches is None:
            raise UsageError(f"the rank {rank!r} needs batches: tuples of images and labels; 'l1', 'l2' and 'random' need none")
        return self.batches


def importance(model: nn.Module, channels: Sequence[Channels], rank: str, evidence: Evidence) -> list[Importance | None]:
    """Return how much the channels of every set matter; None for a set that is left whole.

    That of a channel is a mean over the layers that give it: of its score there, over the mean score of the layer. By gates these layers
    are the last ones of the blocks that rescale it, by weights the convolutions and linear layers outside of blocks. Sets that the rank
    says nothing of, as gates do of what is between the convolutions of a residual unit, are ranked by "l1".

    Args:
        model: the network; it is not changed.
        channels: its channels.
        rank: one of `CHANNEL_RANKS`.
        evidence: what the rank needs.

    Raises:
        UsageError: if the rank needs batches that are not given, or gates that the network has not, or a score is not finite.
    """
    found = _of_sets(channels, CHANNEL_RANKS[rank](model, channels, evidence), rank)
    if all(own.fixed or score is not None for own, score in zip(channels, found, strict=True)):
        return found
    others = _of_sets(channels, _l1(model, channels, evidence), "l1")
    return [other if score is None else score for score, other in zip(found, others, strict=True)]


def _of_sets(channels: Sequence[Channels], scores: ByLayer, rank: str) -> list[Importance | None]:
    if wrong := next((path for path, values in scores.items() if not values.isfinite().all()), None):
        raise UsageError(f"the rank {rank!r} is not finite at {wrong}: weights, images or the loss hold NaN or infinity")
    relative = {path: values / mean if (mean := values.mean()) > 0 else torch.ones_like(values) for path, values in scores.items()}
    found: list[Importance | None] = []
    for own in channels:
        members = [
            relative[axis.path][indices].mean(1)
            for axis, indices in own.places.items()
            if axis.side == "outputs" and axis.path in relative and not own.fixed
        ]
        found.append(Importance(torch.stack(members).mean(0), rank) if members else None)
    return found


def _gate(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the mean gate over all images."""
    recorded = record_excitations(model, evidence.needed_by("gate"))
    return _at_last_layers(model, _mean_gates(recorded))


def _gate_spread(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the mean gate over all images, times the deviation of the classes' mean gates."""
    recorded = record_excitations(model, evidence.needed_by("gate_spread"))
    if len(recorded.classes) < 2:
        raise UsageError("the rank 'gate_spread' needs images of at least two classes; 'gate' needs none")
    means = _mean_gates(recorded)
    return _at_last_layers(model, {own.path: means[own.path] * own.mean.std(0, correction=0) for own in recorded.blocks})


def _mean_gates(recorded: Excitations) -> dict[str, Tensor]:
    return {own.path: (own.mean * own.count[:, None]).sum(0) / own.count.sum() for own in recorded.blocks}


def _gate_activation(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the root mean square of what the gate makes of its map, averaged over images."""
    paths = gate_paths(model)
    sums: dict[str, Tensor] = {}

    def note(block: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        gate, own = block.gate(*inputs).double(), inputs[0].double()
        gate = gate.reshape(*gate.shape, *(1,) * (own.ndim - gate.ndim))
        strength = (gate * own).flatten(2).square().mean(2).sqrt() if own.ndim > 2 else (gate * own).abs()
        sums[paths[block]] = sums.get(paths[block], 0) + strength.sum(0).cpu()

    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad(), hooked(paths, note):
        for images, *_ in evidence.needed_by("gate_activation"):
            model(images.to(device))
    return _at_last_layers(model, sums)


def _at_last_layers(model: nn.Module, of_blocks: ByLayer) -> ByLayer:
    """Return what is said of the gates of blocks as what is said of the outputs of the layers that give these gates.

    Raises:
        UsageError: if there are no gates.
    """
    if not of_blocks:
        raise UsageError(
            f"{type(model).__name__} has no channel gates to rank by: 'l1', 'l2', 'taylor' and 'random' need none, and senet.adopt makes "
            "blocks of another library's SE modules"
        )
    sizes = axis_sizes(model)
    scores = {}
    for path, values in of_blocks.items():
        fit = [axis.path for axis, size in sizes.items() if axis.side == "outputs" and size == len(values)]
        if inside := [layer for layer in fit if layer.startswith(f"{path}.")]:
            scores[inside[-1]] = values
    return scores


def _l1(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the sum of absolute weights."""
    return {path: _by_output(layer, layer.weight.detach().double().abs()) for path, layer in _givers(model).items()}


def _l2(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the root of the sum of squared weights."""
    return {path: _by_output(layer, layer.weight.detach().double().square()).sqrt() for path, layer in _givers(model).items()}


def _taylor(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by the sum of |weight x gradient| over weights and batches (Molchanov et al., 1906.10771, without the square)."""
    loss = cross_entropy if evidence.loss is None else evidence.loss
    trained = duplicate(model).eval().requires_grad_(True)
    device = next(trained.parameters()).device
    layers, sums = _givers(trained), dict[str, Tensor]()
    for images, targets, *_ in evidence.needed_by("taylor"):
        trained.zero_grad()
        targets = targets.to(device) if isinstance(targets, Tensor) else targets
        loss(trained(images.to(device)), targets).backward()
        for path, layer in layers.items():
            if layer.weight.grad is not None:
                product = (layer.weight.detach().double() * layer.weight.grad.double()).abs()
                sums[path] = sums.get(path, 0) + _by_output(layer, product)
    if not sums:
        raise UsageError("the rank 'taylor' needs images, and the batches hold none")
    return sums


def _random(model: nn.Module, channels: Sequence[Channels], evidence: Evidence) -> ByLayer:
    """Score by chance."""
    generator = torch.Generator().manual_seed(evidence.seed)
    sizes = axis_sizes(model)
    return {own.name: torch.rand(sizes[Axis(own.name, "outputs")], generator=generator, dtype=torch.float64) for own in channels}


def _givers(model: nn.Module) -> dict[str, Any]:
    """Return the convolutions and linear layers outside of blocks, by path."""
    inside = modules_of_blocks(model)
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, (ANY_CONVOLUTION, nn.Linear)) and layer not in inside}


def _by_output(layer: nn.Module, values: Tensor) -> Tensor:
    """Sum what belongs to the weights of a layer by its outputs, on the CPU."""
    if isinstance(layer, _ConvTransposeNd):  # (inputs, outputs of a group, ...)
        values = values.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return values.flatten(1).sum(1).cpu()


CHANNEL_RANKS: dict[str, Callable[[nn.Module, Sequence[Channels], Evidence], ByLayer]] = {
    "gate": _gate,
    "gate_spread": _gate_spread,
    "gate_activation": _gate_activation,
    "l1": _l1,
    "l2": _l2,
    "taylor": _taylor,
    "random": _random,
}
"""Name of a rank -> what scores layers by it."""
