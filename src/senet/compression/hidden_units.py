"""Hidden units of the blocks of a network, between their two FCs: which fire, and how much each can say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from senet.analysis.gate_statistics import hidden_layers
from senet.analysis.gate_sums import Firing
from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.layers import is_plain_layer
from senet.errors import UsageError
from senet.measuring.parts import block_paths
from senet.spec import block_class
from senet.surgery.hooks import hooked
from senet.surgery.preserve import evaluating

KINDS_WITH_UNITS = ("se", "scse", "cmpe_se")
"""Kinds of blocks whose hidden units are known."""


@dataclass(frozen=True)
class HiddenLayers:
    """Layers between which the hidden units of a block lie.

    Args:
        path: the block's path.
        kind: its kind.
        channels: how many channels it recalibrates.
        firsts: paths of the layers that give the hidden units, of one width h; two for CMPE-SE of two FCs.
        last: path of the layer that reads them, the first layer's before the second's.
    """

    path: str
    kind: str
    channels: int
    firsts: tuple[str, ...]
    last: str

    def layers(self, model: nn.Module) -> tuple[list[nn.Linear], nn.Linear]:
        """Return these layers of a network."""
        *firsts, last = (model.get_submodule(path) for path in (*self.firsts, self.last))
        return firsts, last  # pyright: ignore[reportReturnType] - `bottlenecks` takes linear layers only


def bottlenecks(model: nn.Module) -> list[HiddenLayers]:
    """Return the bottlenecks of a network's blocks, in the order of the modules.

    Blocks without one (sSE, kinds of users), and those with layers that are more than their weights, are left out.
    """
    found = []
    for path in block_paths(model):
        block = model.get_submodule(path)
        kind = next((kind for kind in KINDS_WITH_UNITS if type(block) is block_class(kind)), None)
        if kind is None:
            continue
        inner, within = (block.cse, (path, "cse")) if isinstance(block, ChannelSpatialSE) else (block, (path,))
        assert isinstance(inner, ChannelSE | CompetitiveSE)
        firsts = hidden_layers(inner)
        last = "fc2" if "fc1" in firsts else "fc_out"
        layers = [getattr(inner, name) for name in (*firsts, last)]
        if all(isinstance(layer, nn.Linear) and is_plain_layer(layer) for layer in layers):
            paths = [".".join(part for part in (*within, name) if part) for name in (*firsts, last)]
            found.append(HiddenLayers(path, kind, inner.channels, tuple(paths[:-1]), paths[-1]))
    return found


@dataclass(frozen=True)
class HiddenUnits:
    """Hidden units of one block.

    Args:
        place: where they lie.
        firing: (P, h) share of the images, of all positions where a block keeps them, at which each fires, float64; row p is of layer p of
            `place.firsts`.
        norms: (P, h) Euclidean norm of what it reads with, its bias included, times that of what it is read by, float64.
        costs: parameters of one hidden unit of all P layers; of the rest of the block.
    """

    place: HiddenLayers
    firing: Tensor = field(repr=False, compare=False)
    norms: Tensor = field(repr=False, compare=False)
    costs: tuple[int, int]

    @cached_property
    def importance(self) -> Tensor:
        """(P, h) firing rate times norms: 0 for a unit that never fires."""
        return self.firing * self.norms

    @property
    def width(self) -> int:
        """Hidden width h."""
        return self.firing.shape[1]

    @property
    def dead(self) -> int:
        """How many units fire for no image."""
        return int((self.firing == 0).sum())

    @cached_property
    def ranked(self) -> Tensor:
        """(P, h) indices of the units of each layer, the most important first; of equal ones the first."""
        return self.importance.sort(dim=1, descending=True, stable=True).indices

    def strongest(self, width: int) -> tuple[tuple[int, ...], ...]:
        """Return the indices of the most important units of each layer, ascending."""
        return tuple(tuple(sorted(row[:width].tolist())) for row in self.ranked)


def measure_hidden_units(model: nn.Module, batches: Iterable[Sequence[Any]]) -> tuple[HiddenUnits, ...]:
    """Run images through a network in evaluation mode and measure the hidden units of its blocks.

    The importance of unit j is firing_j * |w2[:, j]| * |w1[j, :]|, with the share of images at which its ReLU lets something through.
    The network's training flags are left as they were.

    Args:
        model: any network with SE, scSE or CMPE-SE blocks.
        batches: tuples that begin with images, (N, C, H, W), which move to the model's device.

    Raises:
        UsageError: if no block has hidden units, or there are no images.
    """
    places = bottlenecks(model)
    if not places:
        raise UsageError(
            f"{type(model).__name__} has no block with hidden units, such as SE, scSE or CMPE-SE have them; senet.adopt(model) makes this "
            "package's of other libraries' blocks"
        )
    firing = _firing_rates(model, places, batches)
    return tuple(_measured(model, place, firing) for place in places)


def _firing_rates(model: nn.Module, places: Sequence[HiddenLayers], batches: Iterable[Sequence[Any]]) -> Mapping[nn.Module, Tensor]:
    """Return (h,) the share of images at which each unit fires, by layer."""
    device = next(model.parameters()).device
    firing: dict[nn.Module, Firing] = {}

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        firing.setdefault(layer, Firing(1)).update(0, output)

    with evaluating(model), torch.no_grad(), hooked({layer for place in places for layer in place.layers(model)[0]}, note):
        for images, *_ in batches:
            if len(images):
                model(images.to(device))
    if not firing:
        raise UsageError("no hidden unit was seen at work: the batches hold no images, or the model runs none of its blocks")
    return {layer: shares for layer, own in firing.items() if (shares := own.shares) is not None}


def _measured(model: nn.Module, place: HiddenLayers, firing: Mapping[nn.Module, Tensor]) -> HiddenUnits:
    firsts, last = place.layers(model)
    read_by = last.weight.detach().double().cpu().norm(dim=0).unflatten(0, (len(firsts), -1))
    reading = torch.stack([_with_bias(layer).norm(dim=1) for layer in firsts])
    silent = torch.zeros(reading.shape[1], dtype=torch.float64)
    rates = torch.stack([firing.get(layer, silent) for layer in firsts])
    of_unit = sum(layer.in_features + (layer.bias is not None) for layer in firsts) + len(firsts) * last.out_features
    whole = sum(parameter.numel() for parameter in model.get_submodule(place.path).parameters())
    return HiddenUnits(place, rates, read_by * reading, (of_unit, whole - of_unit * reading.shape[1]))


def _with_bias(layer: nn.Linear) -> Tensor:
    """Return the rows of a layer's weight with their biases, (h, inputs + 1): without weights a bias alone can make a unit fire."""
    parts = [layer.weight.detach()] + ([] if layer.bias is None else [layer.bias.detach()[:, None]])
    return torch.cat(parts, 1).double().cpu()
