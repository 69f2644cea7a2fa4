"""Batches of images that live on the training device: the same as those of the loaders, without a host's work on each image."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from senet.data.augment import Augmentation, Normalisation, Store
from senet.data.batch import Batch
from senet.data.samplers import EpochSampler
from senet.spec import InputSpec

AT_ONCE = 32 * 2**20
"""Bytes of images that are augmented at once, so that small ones cost few calls a batch; at least a batch is."""
VALUE = 4
"""Bytes of a float32."""


class DeviceTrainLoader:
    """Batches of augmented training images, epoch by epoch, each on the device.

    Args:
        augmentation: what makes them.
        sampler: the order of each epoch.
        layout: memory layout of the images.
    """

    def __init__(self, augmentation: Augmentation, sampler: EpochSampler, layout: torch.memory_format) -> None:
        self._augmentation, self._sampler, self._layout = augmentation, sampler, layout
        spec = augmentation.spec
        values = max(spec.channels * spec.size**2, augmentation.store.pixels[0].numel())  # the larger of an image before and after
        batch = VALUE * values * (sampler.batch_size // sampler.world)
        self._together = max(1, AT_ONCE // batch)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._sampler)

    def share(self, epoch: int, batch: int) -> list[int]:
        """Return the indices of this process's images of one batch of an epoch."""
        return self._sampler.share(epoch, batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from batch `start` on; nothing before it is made."""
        shares = self._sampler.shares(epoch, start)
        while group := list(islice(shares, self._together)):
            indices, repeats = (np.concatenate(parts) for parts in zip(*group, strict=True))
            images, targets = self._augmentation(epoch, indices, repeats)
            images, size = images.to(memory_format=self._layout), len(group[0][0])
            for batch in range(len(group)):
                own = slice(batch * size, (batch + 1) * size)
                yield Batch(images[own], targets[own], [])

    def close(self) -> None:
        """Do nothing: there are no worker processes."""


class DeviceEvalLoader:
    """Batches of validation images in order, each on the device; it can be iterated again and again.

    Args:
        store: this process's share of the images, of the size that the network sees.
        spec: their normalisation.
        batch_size: images in a batch.
    """

    def __init__(self, store: Store, spec: InputSpec, batch_size: int) -> None:
        self._store, self._size = store, batch_size
        self._normalised = Normalisation(spec, store.pixels.device)

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self._store) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches."""
        for first in range(0, len(self._store), self._size):
            own = slice(first, first + self._size)
            yield Batch(self._normalised(self._store.pixels[own]), self._store.targets[own], [])

    def close(self) -> None:
        """Do nothing: there are no worker processes."""
