"""A batch that stays where it is: a CUDA graph reads its input at fixed addresses."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from senet.data.batch import Batch


class Buffers:
    """Memory of a batch, into which others of the same form are copied.

    Args:
        images: the images.
        targets: tensors, or mappings and lists of them.
    """

    def __init__(self, images: Tensor, targets: Any) -> None:
        self.images, self.targets = images, targets

    @classmethod
    def like(cls, batch: Batch) -> "Buffers":
        """Return memory of its own for a batch on the device."""
        return cls(_empty_like(batch.images), _empty_like(batch.targets))

    def take(self, batch: Batch) -> bool:
        """Copy a batch, from the host or the device, without waiting for it; return False, and copy nothing, if it has another form."""
        pairs: list[tuple[Tensor, Tensor]] = []
        if not (_pair(self.images, batch.images, pairs) and _pair(self.targets, batch.targets, pairs)):
            return False
        for own, new in pairs:
            own.copy_(new, non_blocking=True)
        return True


def _empty_like(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_like(value, memory_format=torch.preserve_format)
    if isinstance(value, Mapping):
        return {name: _empty_like(part) for name, part in value.items()}
    return [_empty_like(part) for part in value] if isinstance(value, list | tuple) else value


def _pair(own: Any, new: Any, pairs: list[tuple[Tensor, Tensor]]) -> bool:
    """Note which tensor is copied to which; return whether two values are of one form, and equal where they are no tensors."""
    if isinstance(own, Tensor):
        pairs.append((own, new))
        return isinstance(new, Tensor) and (own.shape, own.dtype) == (new.shape, new.dtype)
    if isinstance(own, Mapping):
        return isinstance(new, Mapping) and own.keys() == new.keys() and all(_pair(own[name], new[name], pairs) for name in own)
    if isinstance(own, list):
        return isinstance(new, list | tuple) and len(own) == len(new) and all(_pair(*parts, pairs) for parts in zip(own, new, strict=True))
    return type(own) is type(new) and bool(own == new)
