"""The end of a unit in inference: scale, add the shortcut, rectify, on the convolution's output itself."""

import torch
from torch import Tensor


def join(y: Tensor, s: Tensor | None = None, shortcut: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Return f(s y + shortcut) with f = ReLU or the identity; y, which nobody else may hold, is overwritten where that can be.

    A fresh map of that size costs more than the arithmetic: its pages have to be fetched first.

    Args:
        y: (N, C, *S), the output of a convolution.
        s: its gates, (N, C); None = 1.
        shortcut: (N, C, *S), or what broadcasts to a common shape; None = 0.
        relu: whether a ReLU ends the unit.
    """
    gate = None if s is None else s[(...,) + (None,) * (y.ndim - 2)].to(y.dtype)
    if torch.compiler.is_compiling() or y.requires_grad or not _same(y, shortcut):
        return _functional(y, gate, shortcut, relu)
    if gate is not None and shortcut is not None:
        torch.addcmul(shortcut, y, gate, out=y)
    elif gate is not None:
        y.mul_(gate)
    elif shortcut is not None:
        y.add_(shortcut)
    return y.relu_() if relu else y


def _functional(y: Tensor, gate: Tensor | None, shortcut: Tensor | None, relu: bool) -> Tensor:
    """Compute `join` without writing to y: for compilers, which plan memory themselves, and for autograd."""
    y = y if gate is None else y * gate
    y = y if shortcut is None else y + shortcut
    return torch.relu(y) if relu else y


def _same(y: Tensor, shortcut: Tensor | None) -> bool:
    return shortcut is None or (shortcut.shape == y.shape and shortcut.dtype == y.dtype and not shortcut.requires_grad)
