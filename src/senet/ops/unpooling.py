"""Max-pooling over pairs, and its way back by indices: every maximum returns to where it stood, all else is 0.

`torch.nn.functional.max_unpool2d` raises under `torch.use_deterministic_algorithms(True)` and is no operator of ONNX. As windows do not
overlap, no two maxima have one place, so that a scatter gives the same with nothing left to chance, forwards and backwards.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from senet.ops.passes.maps import layout

WINDOW = 2
"""Side of a window, and the step between two."""

BY_DIMS = {4: F.max_pool2d, 5: F.max_pool3d}


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maxima of 2x2 windows, (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2)), and where they stood.

    Args:
        x: images (N, C, H, W), or volumes (N, C, D, H, W); of an odd side the last window has one row.

    Returns:
        The maxima, and for each its position in its plane, counted row by row: int64 of their shape.
    """
    if x.ndim == 5 and x.is_cuda and x.requires_grad and torch.are_deterministic_algorithms_enabled():
        return gathered_max_pool(x)  # torch raises where it is to differentiate its own
    return BY_DIMS[x.ndim](x, WINDOW, ceil_mode=True, return_indices=True)


def gathered_max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `max_pool` does, by a gather, of which torch has a deterministic derivative on every device."""
    indices = BY_DIMS[x.ndim](x.detach(), WINDOW, ceil_mode=True, return_indices=True)[1]
    return x.flatten(2).gather(2, indices.flatten(2)).view_as(indices), indices


def max_unpool(x: Tensor, indices: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map of sides `size` that has the values of x at `indices`, and 0 elsewhere; `F.max_unpool2d`, deterministic.

    Args:
        x: (N, C, h, w) or (N, C, d, h, w).
        indices: of the shape of x; positions in the plane of the result, each once.
        size: sides of the result, (H, W) or (D, H, W).
    """
    flat = x.new_zeros(*x.shape[:2], math.prod(size)).scatter(2, indices.flatten(2), x.flatten(2))
    return flat.view(*x.shape[:2], *size).contiguous(memory_format=layout(x))
