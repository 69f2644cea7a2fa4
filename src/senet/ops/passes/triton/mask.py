"""Masks of one bit an element: what the passes in Triton keep of a map behind a ReLU, a sixteenth of it in bfloat16."""

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


def is_mask(kept: Tensor | None) -> bool:
    """Return whether this is a mask, and not a map or nothing."""
    return kept is not None and kept.dtype == torch.uint8


def row(kept: Tensor | None) -> int:
    """Return the bytes of a row of a mask."""
    return kept.shape[-1] if kept is not None and is_mask(kept) else 0


def alike(kept: Tensor | None, *maps: Tensor | None) -> tuple[Any, ...]:
    """Return `kept` and maps in one memory format, that of a mask or else of the first map; maps that have it are not copied."""
    first = maps[0]
    assert first is not None
    if kept is None or not is_mask(kept):
        maps, memory_format = (kept, *maps), layout(first)
        return tuple(None if v is None else v.contiguous(memory_format=memory_format) for v in maps)
    memory_format = torch.channels_last if kept.ndim == 4 else torch.contiguous_format
    return kept, *(None if v is None else v.contiguous(memory_format=memory_format) for v in maps)
