"""How kernels are started on a device."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, programs: int, *arguments: Any, **sizes: int) -> None:
    """Start a kernel on the device of its first argument, on the stream that is current there."""
    start(kernel, programs, arguments, sizes)


def start(kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, int]) -> None:
    """Do what `launch` says; multiplications and additions fuse, said here since Triton's default changes. Tests replace it."""
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[(programs,)](*arguments, **sizes, enable_fp_fusion=True)


def dense(*vectors: Tensor | None) -> tuple[Any, ...]:
    """Return vectors as kernels read them; those that are contiguous are not copied."""
    return tuple(None if v is None else v.contiguous() for v in vectors)
