"""Batches of training and validation images, the same for any number of worker processes, and what becomes of unreadable images."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from senet.data.samplers import Draw, EpochSampler, sample_random
from senet.data.source import DataSource, ImageSet, UnreadableImageError
from senet.data.transforms import TrainTransform, eval_transform, train_transform
from senet.recipe import DataRecipe
from senet.spec import InputSpec

MAX_WORKERS = 8
REPLACEMENTS = 16
"""How many other images are tried in place of an unreadable one before the sample is left out."""


class Batch(NamedTuple):
    """What a loader yields.

    Args:
        images: (N, C, H, W) float32; (N, crops, C, H, W) for several crops; (0,) if no image could be read.
        labels: (N,) int64.
        corrupt: names of the images that could not be read.
    """

    images: torch.Tensor
    labels: torch.Tensor
    corrupt: list[str]


class DataError(Exception):
    """Report data that a run cannot go on with."""


class CorruptLog:
    """The unreadable images of a run.

    Args:
        max_share: share of `total` beyond which the run fails.
        total: number of images.
    """

    def __init__(self, max_share: float, total: int) -> None:
        self.max_share, self.total = max_share, total
        self.names: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Remember unreadable images; each counts once, however often it is met.

        Raises:
            DataError: if there are too many; it lists them.
        """
        self.names.update(names)
        if len(self.names) > self.max_share * self.total:
            listed = "\n  ".join(sorted(self.names))
            raise DataError(
                f"{len(self.names)} of {self.total} images cannot be read, more than data.max_corrupt {self.max_share:g} allows; "
                f"repair or remove them, or raise it:\n  {listed}"
            )


class Sample(NamedTuple):
    """One image on its way into a batch; no tensor if it could not be read."""

    image: torch.Tensor | None
    label: int
    corrupt: list[str]


class TrainSamples(Dataset[Sample]):
    """Training images by draw, augmented."""

    def __init__(self, images: ImageSet, transform: TrainTransform, seed: int) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __getitem__(self, draw: Draw) -> Sample:
        random = sample_random(self.seed, draw)
        index, corrupt = draw.image, []
        for _ in range(1 + REPLACEMENTS):
            try:
                return Sample(self.transform(self.images.read(index), random), int(self.images.labels[index]), corrupt)
            except UnreadableImageError:
                corrupt.append(self.images.describe(index))
                index = int(random.integers(len(self.images)))
        return Sample(None, 0, corrupt)


class EvalSamples(Dataset[Sample]):
    """Images by index, for evaluation."""

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, index: int) -> Sample:
        try:
            return Sample(self.transform(self.images.read(index)), int(self.images.labels[index]), [])
        except UnreadableImageError:
            return Sample(None, 0, [self.images.describe(index)])


class TrainLoader:
    """Batches of augmented training images, epoch by epoch.

    Args:
        images: the training images.
        recipe: augmentation, sampler, batch size, workers.
        spec: size and normalisation.
        seed: the recipe's seed.
        rank: this process.
        world: number of processes; each gets its share of every batch.
    """

    def __init__(self, images: ImageSet, recipe: DataRecipe, spec: InputSpec, *, seed: int, rank: int = 0, world: int = 1) -> None:
        self._sampler = EpochSampler(images.labels, order=recipe.sampler, batch_size=recipe.batch_size, seed=seed, rank=rank, world=world)
        self._loader = _loader(TrainSamples(images, train_transform(recipe, spec), seed), self._sampler, _workers(images, recipe, world))

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._sampler)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from batch `start` on; nothing before it is read."""
        self._sampler.epoch, self._sampler.start = epoch, start
        return iter(self._loader)


def train_loader(source: DataSource, recipe: DataRecipe, *, seed: int, rank: int = 0, world: int = 1) -> TrainLoader:
    """Return the loader of a source's training images."""
    return TrainLoader(source.train, recipe, source.input, seed=seed, rank=rank, world=world)


def eval_loader(
    source: DataSource | ImageSet,
    recipe: DataRecipe,
    *,
    input: InputSpec | None = None,  # noqa: A002
    transform: Callable[[Image.Image], torch.Tensor] | None = None,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch]:
    """Return the loader of a source's validation images, in order; it can be iterated again and again.

    Args:
        source: a source, or a set of images together with `input` or `transform`.
        recipe: batch size and workers.
        input: size and normalisation, instead of the source's.
        transform: what becomes of an image, instead of a centre crop.
        rank: this process.
        world: number of processes; each gets every `world`-th image.
    """
    images, spec = (source.val, input or source.input) if isinstance(source, DataSource) else (source, input)
    if transform is None:
        if spec is None:
            raise TypeError("eval_loader needs input or transform for a set of images without a source")
        transform = eval_transform(spec)
    size = recipe.eval_batch_size or recipe.batch_size
    indices = list(range(rank, len(images), world))
    batches = [indices[first : first + size] for first in range(0, len(indices), size)]
    return _loader(EvalSamples(images, transform), batches, _workers(images, recipe, world))


def _loader(samples: Dataset[Sample], batches: Iterable[list], workers: int) -> DataLoader:
    return DataLoader(
        samples,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType] - any iterable of keys will do
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_parent,
        generator=torch.Generator(),  # else each epoch would draw from the training's own random numbers
    )


def _collate(samples: list[Sample]) -> Batch:
    read = [(sample.image, sample.label) for sample in samples if sample.image is not None]
    images = torch.stack([image for image, _ in read]) if read else torch.empty(0)
    labels = torch.tensor([label for _, label in read], dtype=torch.int64)
    return Batch(images, labels, [name for sample in samples for name in sample.corrupt])


def _workers(images: ImageSet, recipe: DataRecipe, world: int) -> int:
    """Return the number of worker processes: the recipe's, else what the cores can spare (none for images in memory on a CPU)."""
    if recipe.workers is not None:
        return recipe.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spare = max(0, cores // int(os.environ.get("LOCAL_WORLD_SIZE", world)) - 1)
    if images.in_memory:
        return min(spare, 2) if torch.cuda.is_available() else 0
    return min(spare, MAX_WORKERS)


def _leave_signals_to_parent(worker: int) -> None:
    """Survive Ctrl-C and SIGTERM meant for the whole job, so that the training process can finish its step; obey a SIGTERM of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
