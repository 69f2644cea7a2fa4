"""Batches of training and validation images, the same for any number of worker processes, and what becomes of unreadable images."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from senet.data.batch import Batch, Sample
from senet.data.delivery import Batches, DataError as DataError
from senet.data.preparation import EvalPair, ImagePreparation, Preparation, TrainPair
from senet.data.samplers import EpochSampler, SampleKey, groups_of, sample_random
from senet.data.shared_memory import fitting_workers
from senet.data.source import DataSource, ImageSet, UnreadableImageError, UnreadableName
from senet.data.views import Views
from senet.data.waiting import SLICE, BatchLoader
from senet.data.workers import WorkerStart, own_cores
from senet.recipe import DataRecipe

IMAGES = ImagePreparation()
"""What prepares images whose targets no augmentation changes."""

MAX_WORKERS = 8
VALUE_BYTES = 4
"""Bytes of a float32, in which images are handed over."""
REPLACEMENTS = 16
"""How many other images are tried in place of an unreadable one before the sample is left out."""


class CorruptLog:
    """Unreadable images of a run.

    Args:
        max_share: share of `total` beyond which the run fails.
        total: number of images.
    """

    def __init__(self, max_share: float, total: int) -> None:
        self.max_share, self.total = max_share, total
        self.names: set[str] = set()
        self._reasons: dict[str, str] = {}

    def add(self, names: Iterable[str]) -> None:
        """Remember unreadable images; each counts once, however often it is met.

        Raises:
            DataError: if there are too many; it lists them.
        """
        for name in names:
            self.names.add(str(name))  # plain text, which checkpoints take
            self._reasons |= {str(name): name.reason} if isinstance(name, UnreadableName) else {}
        if len(self.names) > self.max_share * self.total:
            listed = "\n  ".join(map(self.explained, sorted(self.names)))
            raise DataError(
                f"{len(self.names)} of {self.total} images cannot be read, more than data.max_corrupt {self.max_share:g} allows; "
                f"repair or remove them, or raise it:\n  {listed}"
            )

    def explained(self, name: str) -> str:
        """Return the name of an unreadable image, with the reason if it was met in this process."""
        reason = self._reasons.get(name)
        return f"{name} ({reason})" if reason else name


class TrainSamples(Dataset[Sample]):
    """Training images by sample key, augmented."""

    def __init__(self, images: ImageSet, transform: TrainPair, seed: int) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __getitem__(self, key: SampleKey) -> Sample:
        random = sample_random(self.seed, key)
        index, corrupt = key.image, []
        for _ in range(1 + REPLACEMENTS):
            try:
                return Sample(*self.transform(self.images.read(index), self.images.targets[index], random), corrupt, index)
            except UnreadableImageError as error:
                corrupt.append(UnreadableName(self.images.describe(index), error))
                index = int(random.integers(len(self.images)))
        return Sample(None, None, corrupt)


class EvalSamples(Dataset[Sample]):
    """Images by index, for evaluation."""

    def __init__(self, images: ImageSet, transform: EvalPair) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, index: int) -> Sample:
        try:
            return Sample(*self.transform(self.images.read(index), self.images.targets[index]), [], index)
        except UnreadableImageError as error:
            return Sample(None, None, [UnreadableName(self.images.describe(index), error)])


class TrainLoader:
    """Batches of augmented training images, epoch by epoch.

    Args:
        loader: loads the batches that the sampler names.
        sampler: the order of each epoch.
        images: the images; a set may have a method `fetch_ahead`, which is told what is read next, see `ShardImages`.
    """

    def __init__(self, loader: BatchLoader, sampler: EpochSampler, images: ImageSet) -> None:
        self._loader, self._sampler, self._images = loader, sampler, images

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._sampler)

    def share(self, epoch: int, batch: int) -> list[int]:
        """Return the indices of this process's images of one batch of an epoch; another may stand in for one that cannot be read."""
        return self._sampler.share(epoch, batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from batch `start` on; nothing before it is read."""
        self._sampler.epoch, self._sampler.start = epoch, start
        batches, fetch_ahead = iter(self._loader), getattr(self._images, "fetch_ahead", None)
        if fetch_ahead is None:
            return batches
        return _told(batches, fetch_ahead(indices for indices, _ in self._sampler.shares(epoch, start)))

    def close(self) -> None:
        """End the worker processes."""
        self._loader.close()


def train_loader(
    source: DataSource, recipe: DataRecipe, preparation: Preparation = IMAGES, *, seed: int, rank: int = 0, world: int = 1
) -> TrainLoader:
    """Return the loader of a source's training images.

    Args:
        source: the images.
        recipe: augmentation, sampler, batch size, workers.
        preparation: what becomes of an image and its target.
        seed: the recipe's seed.
        rank: this process.
        world: number of processes; each gets its share of every batch.
    """
    images = source.train
    sampler = EpochSampler.of(images.targets, recipe, groups_of(images), seed=seed, rank=rank, world=world)
    samples = TrainSamples(images, preparation.train_transform(recipe, source.input), seed)
    values = sampler.batch_size // world * Views().values(source.input)
    return TrainLoader(_loader(samples, sampler, preparation.collate, _workers(images, recipe, values, world)), sampler, images)


def eval_loader(
    source: DataSource,
    recipe: DataRecipe,
    preparation: Preparation = IMAGES,
    *,
    views: Views = Views(),  # noqa: B008 - frozen
    rank: int = 0,
    world: int = 1,
    chosen: Sequence[int] | None = None,
) -> BatchLoader:
    """Return the loader of a source's validation images, in order; it can be iterated again and again.

    Args:
        source: the images.
        recipe: batch size and workers.
        preparation: what becomes of an image and its target.
        views: which views of an image; more than one give images of (N, views, C, H, W).
        rank: this process.
        world: number of processes; each gets every `world`-th image.
        chosen: indices of the images to take; None = all.
    """
    images, size = source.val, recipe.eval_batch_size or recipe.batch_size
    indices = list((range(len(images)) if chosen is None else chosen)[rank::world])
    batches = [indices[first : first + size] for first in range(0, len(indices), size)]
    samples = EvalSamples(images, preparation.eval_transform(source.input, views))
    values = min(size, len(indices)) * views.values(source.input)
    return _loader(samples, batches, preparation.collate, _workers(images, recipe, values, world))


def stream_loader(
    samples: Dataset[Sample], keys: Iterable[Any], collate: Callable[[Sequence[Sample]], Batch], *, workers: int | None, values: int
) -> BatchLoader:
    """Return the loader of images that nobody counts before, one at a time and in order; it is iterated once.

    Args:
        samples: gives a sample by its key.
        keys: one after the other, read a little ahead.
        collate: makes a batch of one sample.
        workers: loader processes; None = what cores and shared memory can spare.
        values: how many float32 values an image is.
    """
    return _loader(samples, ([key] for key in keys), collate, _fitting(workers, values))


def _loader(samples: Dataset[Sample], keys: Iterable[list], collate: Callable[[Sequence[Sample]], Batch], workers: int) -> BatchLoader:
    start = WorkerStart()
    loader = DataLoader(
        Batches(samples, collate),
        batch_size=None,  # `Batches` makes them
        sampler=keys,
        num_workers=workers,
        persistent_workers=workers > 0,
        timeout=SLICE if workers else 0,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=start,
        generator=torch.Generator(),  # else each epoch would draw from the training's own random numbers
    )
    return BatchLoader(loader, start)


def _told(batches: Iterator[Batch], fetching: AbstractContextManager[Callable[[int], object]]) -> Iterator[Batch]:
    """Yield batches while what they need is fetched, and tell the number of each as it arrives."""
    with fetching as tell:
        for number, batch in enumerate(batches):
            tell(number)
            yield batch


def _as_it_is(batch: Any) -> Any:
    return batch


def _workers(images: ImageSet, recipe: DataRecipe, values: int, world: int) -> int:
    """Return the number of worker processes: the recipe's, else what cores and shared memory can spare, for batches of float32 values."""
    return _fitting(recipe.workers, values, in_memory=images.in_memory, processes=int(os.environ.get("LOCAL_WORLD_SIZE", world)))


def _fitting(asked: int | None, values: int, *, in_memory: bool = False, processes: int = 1) -> int:
    workers = _spare(processes, in_memory=in_memory) if asked is None else asked
    return fitting_workers(workers, VALUE_BYTES * values, asked_for=asked is not None, processes=processes)


def _spare(processes: int, *, in_memory: bool) -> int:
    spare = max(0, own_cores() // processes - 1)
    if in_memory:
        return min(spare, 2) if torch.cuda.is_available() else 0
    return min(spare, MAX_WORKERS)
