"""Take channels out of a network, or set them to zero, and prove that both compute the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.utils._pytree import tree_leaves

from senet.compression.pruning.channels import ANY_CONVOLUTION, Axis, Channels, Side, axis_sizes, is_one_to_one
from senet.errors import first_line_of
from senet.ops.backend import REFERENCE, backend
from senet.surgery.duplicate import duplicate
from senet.surgery.widths import Widths, resize_, widths_of
from senet.text import printable

BOTH_SIDES: tuple[Side, Side] = ("outputs", "inputs")
STATISTICS = ("running_mean", "running_var")

Kept = Mapping[Axis, Tensor]
"""Axis -> the indices that stay, ascending; of axes that are not there all stay."""


def kept_places(model: nn.Module, channels: Sequence[Channels], kept: Sequence[Tensor]) -> dict[Axis, Tensor]:
    """Return which indices of every axis stay.

    Args:
        model: the network.
        channels: its channels.
        kept: of each of them, the positions that stay, ascending.
    """
    sizes, removed = axis_sizes(model), dict[Axis, Tensor]()
    for own, positions in zip(channels, kept, strict=True):
        if len(positions) == own.count:
            continue
        gone = torch.ones(own.count, dtype=torch.bool)
        gone[positions] = False
        for axis, places in own.places.items():
            mask = removed.setdefault(axis, torch.zeros(sizes[axis], dtype=torch.bool))
            mask[places[gone].flatten()] = True
    return {axis: (~mask).nonzero()[:, 0] for axis, mask in removed.items()}


def after(channels: Sequence[Channels], kept: Sequence[Tensor], places: Kept) -> list[Channels]:
    """Return the channels of the network that has been cut, by their indices there."""
    return [
        replace(own, places={axis: _position(indices[positions], places.get(axis)) for axis, indices in own.places.items()})
        for own, positions in zip(channels, kept, strict=True)
    ]


def _position(indices: Tensor, kept: Tensor | None) -> Tensor:
    return indices if kept is None else torch.searchsorted(kept, indices)


@torch.no_grad()
def cut_(model: nn.Module, places: Kept) -> None:
    """Leave only some channels of the layers of a network, in place.

    Args:
        model: the network.
        places: axis -> the indices that stay.
    """
    for path in dict.fromkeys(axis.path for axis in places):
        layer = model.get_submodule(path)
        sides: dict[Side, Tensor] = {side: places[Axis(path, side)] for side in BOTH_SIDES if Axis(path, side) in places}
        tensors = {name: tensor.detach().clone() for name, tensor in _tensors(layer).items()}
        for name, tensor in tensors.items():
            for side, dim in _dims(layer, name).items():
                if side in sides:
                    tensors[name] = tensors[name].index_select(dim, _within(sides[side], tensor.shape[dim]).to(tensor.device))
        resize_(layer, _narrowed(layer, {side: len(kept) for side, kept in sides.items()}))
        for name, tensor in tensors.items():
            getattr(layer, name).copy_(tensor)


@torch.no_grad()
def mask_(model: nn.Module, places: Kept) -> None:
    """Set to zero, in place, what a cut to some channels would take out: their weights, gammas, betas and biases, and what reads them.

    Args:
        model: the network.
        places: axis -> the indices that stay.
    """
    for axis, kept in places.items():
        layer = model.get_submodule(axis.path)
        for name, tensor in _tensors(layer).items():
            dim = _dims(layer, name).get(axis.side)
            if dim is None or name in STATISTICS:
                continue
            gone = torch.ones(tensor.shape[dim], dtype=torch.bool)
            gone[_within(kept, tensor.shape[dim])] = False
            tensor.index_fill_(dim, gone.nonzero()[:, 0].to(tensor.device), 0)


def difference(model: nn.Module, places: Kept, images: Tensor) -> str:
    """Say in which way a network that is cut differs from the same with these channels at zero; "" if it does not.

    Outputs are equal if none differs by more than 1,000 roundings of the largest.

    Args:
        model: the network; it is not changed.
        places: axis -> the indices that stay.
        images: a batch, (N, C, H, W), on the network's device.
    """
    cut, masked = duplicate(model).eval(), duplicate(model).eval()
    mask_(masked, places)
    with backend(REFERENCE), torch.no_grad():
        wants = _floats(masked(images))
        try:
            cut_(cut, places)
            gots = _floats(cut(images))
        except Exception as error:  # whatever a forward leads to whose maps have another number of channels
            return printable(f"{type(error).__name__}: {first_line_of(error)}")
    for got, want in zip(gots, wants, strict=True):
        if got.shape != want.shape:
            return f"outputs become {tuple(got.shape)} instead of {tuple(want.shape)}"
        allowed = 1e3 * torch.finfo(want.dtype).eps * want.abs().max()
        if not (got - want).abs().max() <= allowed:
            return "outputs are not those of the network with these channels at zero"
    return ""


def _floats(outputs: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel()]


def _tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a layer that have channels."""
    own = {**layer._parameters, **layer._buffers}
    return {name: tensor for name, tensor in own.items() if tensor is not None and tensor.ndim}


def _dims(layer: nn.Module, name: str) -> dict[Side, int]:
    """Return along which dimension of a tensor each side of its layer lies; of groups it may hold the channels of one."""
    if name != "weight" or not isinstance(layer, (ANY_CONVOLUTION, nn.Linear)) or is_one_to_one(layer):
        return {"outputs": 0}
    return {"inputs": 0, "outputs": 1} if isinstance(layer, _ConvTransposeNd) else {"outputs": 0, "inputs": 1}


def _within(indices: Tensor, size: int) -> Tensor:
    """Return the indices in the first group, as all groups keep the same."""
    return indices[indices < size]


def _narrowed(layer: nn.Module, counts: Mapping[Side, int]) -> Widths:
    old = widths_of(layer)
    if isinstance(layer, (ANY_CONVOLUTION, nn.Linear)) and not is_one_to_one(layer):
        return Widths(counts.get("inputs", old.inputs), counts.get("outputs", old.outputs), old.groups)
    count = counts["outputs"]
    return Widths(count, count, count if is_one_to_one(layer) else 1)
