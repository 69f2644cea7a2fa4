"""Convolutions on CPUs with weights in oneDNN's own layout, and with the sum and the ReLU behind them in the same pass.

torch's own convolution lays the weights out anew at every call, which for small batches and deep layers takes as long as the arithmetic.
The operators are those that torch.compile's CPU code calls.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from senet.ops.inference.memory import is_direct

MKLDNN = torch.ops.mkldnn
NEEDED = ("_convolution_pointwise", "_reorder_convolution_weight")


class Geometry(NamedTuple):
    """Motion of a kernel over a map: each entry height, then width."""

    padding: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def lists(self) -> tuple[list[int], list[int], list[int], int]:
        """Return the entries as the operators take them."""
        return list(self.padding), list(self.stride), list(self.dilation), self.groups


def available(x: Tensor, weight: Tensor) -> bool:
    """Return whether these operators take the map and the weight: on a CPU, without a gradient, autocast or a compiler."""
    if not is_direct(x) or torch.is_autocast_enabled("cpu"):
        return False
    if x.device.type != "cpu" or x.dtype != weight.dtype or x.dtype not in (torch.float32, torch.bfloat16) or x.ndim != 4 or not x.numel():
        return False
    if not (torch.backends.mkldnn.is_available() and all(hasattr(MKLDNN, name) for name in NEEDED)):
        return False
    return x.dtype == torch.float32 or MKLDNN._is_mkldnn_bf16_supported()


def pack(weight: Tensor, geometry: Geometry, shape: torch.Size) -> Tensor:
    """Return a copy of a weight (O, I / groups, kh, kw) in the layout that is best for maps of this shape; it serves others too."""
    return MKLDNN._reorder_convolution_weight(weight.detach(), *geometry.lists(), list(shape))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, shortcut: Tensor | None = None, *, relu: bool) -> Tensor:
    """Return f(conv(x) + shortcut), a new map in channels_last, with f = ReLU or the identity.

    Args:
        x: (N, I, H, W).
        weight: as `pack` returned it.
        bias: (O,) or None.
        geometry: how the kernel moves.
        shortcut: a map of the output's shape and type, or None.
        relu: whether a ReLU ends it.
    """
    if shortcut is None:
        return MKLDNN._convolution_pointwise(x, weight, bias, *geometry.lists(), "relu" if relu else "none", [], "")
    end = "relu" if relu else None
    return MKLDNN._convolution_pointwise.binary(x, shortcut, weight, bias, *geometry.lists(), "add", 1.0, end, [], "")
