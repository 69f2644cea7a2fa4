"""Samples on their way into a batch, and the batch itself."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import default_collate


class Sample(NamedTuple):
    """One image with its target; both None if neither it nor a replacement could be read.

    Args:
        image: the image as the network sees it.
        target: what is to be predicted of it.
        corrupt: names of the images that could not be read.
        position: index of the image in its set; None if it is not known.
    """

    image: torch.Tensor | None
    target: Any
    corrupt: list[str]
    position: int | None = None


class Batch(NamedTuple):
    """Images and targets of one step.

    Args:
        images: (N, C, H, W) float32; (N, views, C, H, W) for several views; (0,) if no image could be read; for a task that takes images
            of several sizes, a list of (C, H, W).
        targets: what is to be predicted of them: (N,) int64 classes, or what else the task's `collate` makes.
        corrupt: names of the images that could not be read.
        indices: of the images in their set, by which a task finds what else is known of them; empty where nobody noted them.
    """

    images: Any
    targets: Any
    corrupt: list[str]
    indices: Sequence[int] = ()

    def to(self, device: torch.device, layout: torch.memory_format | None = None) -> "Batch":
        """Return the batch on a device, its images in a memory layout; a copy from pinned memory is not waited for."""
        kept = torch.preserve_format if layout is None else layout
        images = self.images
        if isinstance(images, torch.Tensor):
            images = images.to(device, non_blocking=True, memory_format=kept)
        return Batch(_moved(images, device), _moved(self.targets, device), self.corrupt, self.indices)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack images of one size, and their targets as torch's `default_collate` does: numbers become (N,) tensors."""
    images = [sample.image for sample in samples if sample.image is not None]
    corrupt = [name for sample in samples for name in sample.corrupt]
    if not images:
        return Batch(torch.empty(0), torch.empty(0), corrupt)
    targets = default_collate([sample.target for sample in samples if sample.image is not None])
    return Batch(torch.stack(images), targets, corrupt, indices_of(samples))


def indices_of(samples: Sequence[Sample]) -> list[int]:
    """Return the index of each image that there is; none if one is not known."""
    indices = [sample.position for sample in samples if sample.image is not None]
    known = [index for index in indices if index is not None]
    return known if len(known) == len(indices) else []


def _moved(targets: Any, device: torch.device) -> Any:
    if isinstance(targets, torch.Tensor):
        return targets.to(device, non_blocking=True)
    if isinstance(targets, Mapping):
        return {name: _moved(value, device) for name, value in targets.items()}
    return [_moved(target, device) for target in targets] if isinstance(targets, list | tuple) else targets
