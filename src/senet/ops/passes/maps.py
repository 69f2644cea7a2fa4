"""What every pass takes for granted of a map: its memory format, the type of its sums, and how values of channels apply to it."""

import torch
from torch import Tensor


def layout(x: Tensor) -> torch.memory_format:
    """Return the memory format that a map (N, C, H, W) is passed on in."""
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous() else torch.contiguous_format


def map_like(x: Tensor) -> Tensor:
    """Return an unset map in the memory format in which x is passed on."""
    return torch.empty_like(x, memory_format=layout(x))


def precision(x: Tensor) -> torch.dtype:
    """Return the type in which sums over a map are kept: at least float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def over_positions(v: Tensor) -> Tensor:
    """Shape (N, C) or (C,) so that it applies to (N, C, H, W)."""
    return v[..., None, None]
