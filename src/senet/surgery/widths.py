"""How many channels a layer takes and gives, and the same layer with others: what pruned networks are rebuilt by."""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from senet.errors import UsageError

WIDEST_LAYER = 2**20
"""More channels than any layer has."""


@dataclass(frozen=True)
class Widths:
    """Channels of a layer.

    Args:
        inputs: channels it takes.
        outputs: channels it gives; a normalisation has as many as it takes.
        groups: parts of its channels that know nothing of each other, each with as many inputs and outputs; 1 = none.
    """

    inputs: int
    outputs: int
    groups: int = 1

    def __post_init__(self) -> None:
        if not all(type(value) is int and 1 <= value <= WIDEST_LAYER for value in astuple(self)):
            raise UsageError(f"the widths of a layer are three integers of at least 1, got {astuple(self)}")
        if self.inputs % self.groups or self.outputs % self.groups:
            raise UsageError(f"{self.inputs} inputs and {self.outputs} outputs are not {self.groups} equal groups")


@dataclass(frozen=True)
class _Kind:
    """Way in which layers of one kind hold their widths.

    Args:
        read: layer -> widths.
        attributes: widths -> the attributes that say them.
        shapes: (layer, widths) -> name of each parameter and buffer that depends on them -> its shape.
    """

    read: Callable[..., Widths]
    attributes: Callable[[Widths], dict[str, int | tuple[int, ...]]]
    shapes: Callable[..., dict[str, tuple[int, ...]]]


def _square(read: Callable[..., int], name: str, tensors: tuple[str, ...]) -> _Kind:
    """Return how layers are held that give each channel that they take, with tensors of one value a channel."""

    def read_widths(layer: nn.Module) -> Widths:
        return Widths(read(layer), read(layer))

    return _Kind(
        read_widths,
        lambda widths: {name: widths.outputs},
        lambda layer, widths: dict.fromkeys(tensors, (widths.outputs,)),
    )


def _conv_shapes(layer: _ConvNd, widths: Widths) -> dict[str, tuple[int, ...]]:
    first, second = widths.outputs, widths.inputs // widths.groups
    if isinstance(layer, _ConvTransposeNd):
        first, second = widths.inputs, widths.outputs // widths.groups
    return {"weight": (first, second, *layer.kernel_size), "bias": (widths.outputs,)}


_STATISTICS = ("weight", "bias", "running_mean", "running_var")

KINDS_OF_LAYER: dict[type[nn.Module], _Kind] = {
    _ConvNd: _Kind(
        lambda layer: Widths(layer.in_channels, layer.out_channels, layer.groups),
        lambda widths: {"in_channels": widths.inputs, "out_channels": widths.outputs, "groups": widths.groups},
        _conv_shapes,
    ),
    nn.Linear: _Kind(
        lambda layer: Widths(layer.in_features, layer.out_features),
        lambda widths: {"in_features": widths.inputs, "out_features": widths.outputs},
        lambda layer, widths: {"weight": (widths.outputs, widths.inputs), "bias": (widths.outputs,)},
    ),
    _NormBase: _square(lambda layer: layer.num_features, "num_features", _STATISTICS),
    nn.GroupNorm: _square(lambda layer: layer.num_channels, "num_channels", ("weight", "bias")),
    nn.PReLU: _square(lambda layer: layer.num_parameters, "num_parameters", ("weight",)),
}
"""Class of layers -> how they hold their widths; a sub-class is held as its base."""


def has_widths(layer: nn.Module) -> bool:
    """Return whether a layer is of a kind whose widths can be read and changed."""
    return isinstance(layer, tuple(KINDS_OF_LAYER))


def widths_of(layer: nn.Module) -> Widths:
    """Return the widths of a layer.

    Raises:
        UsageError: if it is of no kind that has any.
    """
    return _kind(layer).read(layer)


def resize_(layer: nn.Module, widths: Widths) -> None:
    """Give a layer other widths, in place; tensors whose shape changes are fresh and hold no values of use.

    Raises:
        UsageError: if it is of no kind whose widths can be changed.
    """
    kind = _kind(layer)
    for name, value in kind.attributes(widths).items():
        setattr(layer, name, value)
    for name, shape in kind.shapes(layer, widths).items():
        tensor = getattr(layer, name, None)
        if tensor is not None and tuple(tensor.shape) != shape:
            setattr(layer, name, _fresh(tensor, shape))


def _fresh(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    empty = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _kind(layer: nn.Module) -> _Kind:
    for base, kind in KINDS_OF_LAYER.items():
        if isinstance(layer, base):
            return kind
    raise UsageError(f"{type(layer).__name__} is no layer whose widths are known: convolutions, linear layers and normalisations are")
