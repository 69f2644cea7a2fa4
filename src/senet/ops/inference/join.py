"""The end of a unit in inference: scale, add the shortcut, rectify, on the convolution's output itself."""

from collections.abc import Callable

import torch
from torch import Tensor

from senet.ops.backend import choose
from senet.ops.inference.memory import is_direct


def join(y: Tensor, s: Tensor | None = None, shortcut: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Return f(s y + shortcut) with f = ReLU or the identity; y, which nobody else may hold, is overwritten where that can be.

    A fresh map of that size costs more than the arithmetic: its pages have to be fetched first.

    Args:
        y: (N, C, *S), the output of a convolution.
        s: its gates, (N, C); None = 1.
        shortcut: (N, C, *S), or what broadcasts to a common shape; None = 0.
        relu: whether a ReLU ends the unit.
    """
    if not is_direct(y) or not _same(y, shortcut):
        return _functional(y, s, shortcut, relu)
    if s is not None:
        rescale = _one_pass(y)
        if rescale is not None:
            rescale(y, s, shortcut, relu)
            return y
        gate = _over_positions(s, y)
        y = y.mul_(gate) if shortcut is None else torch.addcmul(shortcut, y, gate, out=y)
    elif shortcut is not None:
        y.add_(shortcut)
    return y.relu_() if relu else y


def _one_pass(y: Tensor) -> Callable[[Tensor, Tensor, Tensor | None, bool], None] | None:
    """Return the operator that does all of it in one pass, if the backend for y has one."""
    dense = y.is_contiguous() or (y.ndim == 4 and y.is_contiguous(memory_format=torch.channels_last))
    return getattr(choose(y).kernels, "rescale_", None) if y.ndim == 4 and y.numel() and dense else None


def _functional(y: Tensor, s: Tensor | None, shortcut: Tensor | None, relu: bool) -> Tensor:
    """Compute `join` without writing to y: for compilers, which plan memory themselves, and for autograd."""
    y = y if s is None else y * _over_positions(s, y)
    y = y if shortcut is None else y + shortcut
    return torch.relu(y) if relu else y


def _same(y: Tensor, shortcut: Tensor | None) -> bool:
    return shortcut is None or (shortcut.shape == y.shape and shortcut.dtype == y.dtype and not shortcut.requires_grad)


def _over_positions(s: Tensor, y: Tensor) -> Tensor:
    return s[(...,) + (None,) * (y.ndim - 2)].to(y.dtype)
