"""Which axes of a map hold its features: said by the layer that makes them, and followed through a run.

A convolution puts its features on axis 1, a linear layer on the last one. What moves numbers moves the axes, what acts on every number
alone leaves them, and a layer that mixes another axis than the features (tokens, in a mixer) leaves them where they were.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from senet.surgery.arguments import tensors
from senet.surgery.provenance import keep_trail

Axes = tuple[int, ...]

_MARK = "_senet_feature_axes"
"""Attribute of a tensor that has been followed."""

FIRST = {
    *(f"conv{transposed}{dimensions}d" for transposed in ("", "_transpose") for dimensions in (1, 2, 3)),
    *("batch_norm", "group_norm", "instance_norm"),
}
LAST = {"linear", "bilinear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "layer_norm", "rms_norm"}
"""Functions that make features, on axis 1 or on the last one."""

PRODUCTS = {"matmul", "__matmul__", "bmm"}
UNKNOWN = {"baddbmm", "einsum", "tensordot", "__rmatmul__"}
"""Functions whose result has axes of its own."""

VIEWS = {
    *("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "adjoint", "__get__"),
    *("getitem", "__getitem__", "select", "narrow", "unbind", "chunk", "split", "tensor_split", "unsafe_chunk", "unsafe_split"),
    *("unsqueeze", "squeeze"),
}
"""Functions whose result is read from the same memory, with other strides."""

REDUCTIONS = {"sum", "mean", "amax", "amin", "prod", "std", "var", "norm", "logsumexp", "nansum"}
JOINS = {"cat", "concat", "concatenate"}
PADS = {"pad", "constant_pad_nd"}
PIXELS = {"pixel_shuffle", "pixel_unshuffle"}

MARKER_STRIDES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079)
"""Strides by which the axes of a marker are told apart; the step of a slice multiplies them."""

MARKER_SIZES = (3, 5, 7, 11, 13, 17, 19, 23)
"""Sizes by which they are told apart where some are summed up."""


def feature_axes(value: Any) -> Axes | None:
    """Return the axes that hold the features of a tensor that was followed, None if they are not known."""
    return getattr(value, _MARK, None)


def mark(tensor: Tensor, axes: Axes | None) -> Tensor:
    """Note on a tensor which axes hold its features."""
    setattr(tensor, _MARK, axes)
    return tensor


def shape_only(tree: Any) -> Any:
    """Replace tensors by ones that have shape, type, feature axes and provenance only."""

    def bare(tensor: Tensor) -> Tensor:
        return keep_trail(tensor, mark(tensor.detach().to("meta"), feature_axes(tensor)))

    with DisableTorchFunction():
        return pytree.tree_map_only(Tensor, bare, tree)


class FeatureAxes(TorchFunctionMode):
    """Trail of the features through every operation, while it is entered."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and mark what it returns."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        with DisableTorchFunction():  # a look at shapes is no operation of the network; other modes would follow it, which takes time
            self._follow(func, args, kwargs, result)
        return result

    def _follow(self, func: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        made = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple | list) else []
        maps = [(index, tensor) for index, tensor in enumerate(made) if isinstance(tensor, Tensor) and tensor.ndim > 1]
        if maps:
            given = [tensor for tensor in tensors((args, kwargs)) if feature_axes(tensor) is not None]
            for index, tensor in maps:
                axes = _axes_of(func, args, kwargs, given, (index, tensor))
                if axes is not None or feature_axes(tensor) is not None:
                    mark(tensor, axes)


def _axes_of(func: Callable[..., Any], args: Any, kwargs: Any, given: list[Tensor], made: tuple[int, Tensor]) -> Axes | None:
    index, result = made
    name = getattr(func, "__name__", "")
    if name in FIRST | LAST:
        return _mixed(given, result, 1 if name in FIRST else result.ndim - 1)
    if name in UNKNOWN or not given:
        return None
    if name in PRODUCTS:
        return _multiplied(args, given, result)
    if name in VIEWS:
        return _moved(func, args, kwargs, given[0], index)
    if name in REDUCTIONS:
        return _reduced(func, args, kwargs, given[0])
    if name in PIXELS:
        return (result.ndim - 3,)
    if name == "stack":
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % result.ndim
        return tuple(axis + (axis >= dim) for axis in feature_axes(given[0]) or ())
    kept = {_kept(tensor, result, sizes=name not in JOINS | PADS) for tensor in given}
    axes = kept - {None}
    return axes.pop() if len(axes) == 1 else None


def _mixed(given: Iterable[Tensor], result: Tensor, axis: int) -> Axes:
    """Return the axes behind a layer that mixes one axis: that axis, or the features' own where it is another."""
    for source in given:
        axes = feature_axes(source) or ()
        if axes and axis not in axes and _kept(source, result) == axes:
            return axes
    return (axis,)


def _multiplied(args: Any, given: list[Tensor], result: Tensor) -> Axes | None:
    """Return the axes of a matrix product: a weight makes features, attention weights leave those of the values."""
    factor = args[1] if len(args) > 1 else None
    if not isinstance(factor, Tensor):
        return None
    axes = feature_axes(factor)
    if axes is None:
        return _mixed(given, result, result.ndim - 1)
    return axes if factor.ndim == result.ndim and result.ndim - 1 in axes else None


def _kept(source: Tensor, result: Tensor, *, sizes: bool = True) -> Axes | None:
    """Return the axes of a result that has its numbers in the source's order, or shares its shape but for other axes."""
    axes = feature_axes(source) or ()
    if source.ndim == result.ndim and (not sizes or all(source.shape[axis] == result.shape[axis] for axis in axes)):
        return axes
    return _reshaped(source.shape, result.shape, axes) if source.numel() == result.numel() else None


def _reshaped(before: Iterable[int], after: Iterable[int], axes: Axes) -> Axes | None:
    """Return the axes into which a reshape splits or joins the feature axes; None if it mixes them with others."""
    old, new = list(before), list(after)
    if list(axes) != list(range(axes[0], axes[-1] + 1)):
        return None
    ahead, width = math.prod(old[: axes[0]]), math.prod(old[axis] for axis in axes)
    spans = ((start, end) for start in range(len(new)) for end in range(start + 1, len(new) + 1))
    fits = (span for span in spans if math.prod(new[: span[0]]) == ahead and math.prod(new[slice(*span)]) == width)
    span = next((span for span in fits if width == 1 or 1 not in (new[span[0]], new[span[1] - 1])), None)
    return None if span is None else tuple(range(*span))


def _moved(func: Callable[..., Any], args: Any, kwargs: Any, source: Tensor, index: int) -> Axes | None:
    """Return the axes of a view, found by a marker whose strides differ."""
    strides = MARKER_STRIDES[: source.ndim]
    marker = torch.empty_strided(source.shape, strides, device="meta")
    result = _again(func, args, kwargs, source, marker)
    view = result[index] if isinstance(result, tuple | list) else result
    if not isinstance(view, Tensor) or not view._is_view():
        return None
    own = [strides[axis] for axis in feature_axes(source) or ()]
    moved = enumerate(zip(view.shape, view.stride(), strict=True))
    return tuple(axis for axis, (size, stride) in moved if size > 1 and stride and any(stride % other == 0 for other in own)) or None


def _reduced(func: Callable[..., Any], args: Any, kwargs: Any, source: Tensor) -> Axes | None:
    """Return the axes of a sum over others, found by a marker whose sizes differ."""
    sizes = MARKER_SIZES[: source.ndim]
    result = _again(func, args, kwargs, source, torch.empty(1, device="meta").expand(sizes))
    if not isinstance(result, Tensor):
        return None
    return tuple(axis for axis, size in enumerate(result.shape) if size in {sizes[own] for own in feature_axes(source) or ()}) or None


def _again(func: Callable[..., Any], args: Any, kwargs: Any, source: Tensor, marker: Tensor) -> Any:
    """Call a function on a marker instead of a tensor; None if it does not take it."""
    swapped = pytree.tree_map_only(Tensor, lambda tensor: marker if tensor is source else tensor, (args, kwargs))
    try:
        return func(*swapped[0], **swapped[1])
    except Exception:  # an index may ask for real numbers
        return None
