"""Masks of one bit an element: what the passes in Triton say of a map behind a ReLU, a sixteenth of it in bfloat16."""

from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.maps import layout


def empty_mask(x: Tensor) -> Tensor:
    """Return an unset mask for maps like x, (N, C, H, W), with rows along the contiguous axis padded to whole bytes.

    For channels_last it is (N, H, W, bytes) of channels, else (N, C, bytes) of positions; of a byte the first element is the lowest bit.
    """
    n, c, h, w = x.shape
    shape = (n, h, w, (c + 7) // 8) if layout(x) == torch.channels_last else (n, c, (h * w + 7) // 8)
    return x.new_empty(shape, dtype=torch.uint8)


def has_bits(relu_mask: Tensor) -> bool:
    """Return whether the mask of a ReLU is one of bits, and not the map behind it."""
    return relu_mask.dtype == torch.uint8


def row(relu_mask: Tensor | None) -> int:
    """Return the bytes of a row of a mask of bits, 0 for others."""
    return relu_mask.shape[-1] if relu_mask is not None and has_bits(relu_mask) else 0


def in_one_format(relu_mask: Tensor | None, *maps: Tensor | None) -> tuple[Any, ...]:
    """Return a ReLU's mask and maps in one memory format, that of the bits or else of the first map; maps that have it are not copied."""
    first = maps[0]
    assert first is not None
    if relu_mask is None or not has_bits(relu_mask):
        maps, memory_format = (relu_mask, *maps), layout(first)
        return tuple(None if v is None else v.contiguous(memory_format=memory_format) for v in maps)
    memory_format = torch.channels_last if relu_mask.ndim == 4 else torch.contiguous_format
    return relu_mask, *(None if v is None else v.contiguous(memory_format=memory_format) for v in maps)
