"""In which type a block computes: at least float32, whatever it is fed and whatever its weights are."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def precise(*tensors: Tensor) -> torch.dtype:
    """Return the widest type of these tensors, and at least float32: sums over half-precision maps overflow, and gates lose digits."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return the context in which autocast leaves operations on x alone; the meta device, which has shapes only, knows no autocast."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)
