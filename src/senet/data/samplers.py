"""The order of an epoch, as a function of (seed, epoch), and the random numbers of each sample in it."""

from collections.abc import Callable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np

from senet.errors import UsageError
from senet.recipe import DataRecipe

WORD = 2**64

MIXED_SHARDS = 8
"""Shards of which each batch has images where these come shard by shard."""


class SampleKey(NamedTuple):
    """One training sample.

    Args:
        epoch: the epoch, from 0.
        image: its index in the set.
        repeat: how often the image came before in this epoch (0 unless the sampler repeats images).
    """

    epoch: int
    image: int
    repeat: int = 0


def sample_random(seed: int, sample: SampleKey) -> np.random.Generator:
    """Return the generator of one sample's random numbers: a function of the seed and the sample's key alone, whoever asks.

    Philox is counter-based (Salmon et al. 2011): every (key, counter) is an independent stream, at no cost of seeding.
    """
    key, counter = [seed % WORD, sample.epoch], [0, 0, sample.repeat, sample.image]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64)))


def shuffle(targets: Sized, random: np.random.Generator) -> np.ndarray:
    """Draw each image once, in random order: (N,) indices."""
    return random.permutation(len(targets))


def class_aware(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw N images so that every class comes equally often (Relay BP, Shen et al. 2016).

    The classes come in rounds of random order; each class hands out its images in rounds of random order of their own.

    Args:
        labels: (N,) class of each image.
        random: source of randomness.

    Raises:
        UsageError: if the images have no classes.
    """
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UsageError("data.sampler 'class_aware' needs one class an image, and these images have other targets; set it to 'shuffle'")
    turns = _rounds(np.unique(labels), len(labels), random)
    order = np.empty(len(labels), np.int64)
    for places, images in zip(_by_class(turns, labels), _by_class(labels, labels), strict=True):
        order[places] = _rounds(images, len(places), random)
    return order


def by_shard(shards: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """Draw each image once, shard by shard in random order, and those of a shard in random order, too; `in_lanes` mixes them.

    Args:
        shards: (N,) shard of each image; None = images do not lie in shards.
        random: source of randomness.

    Raises:
        UsageError: if images do not lie in shards.
    """
    if shards is None:
        raise UsageError("data.sampler 'by_shard' is for images in shards, data.name shards, and these are not; set it to 'shuffle'")
    turns = random.permutation(int(shards.max()) + 1)[shards]
    return np.lexsort((random.random(len(shards)), turns))


def in_lanes(order: np.ndarray, batch_size: int) -> np.ndarray:
    """Return an order in which each batch has a piece of each of `MIXED_SHARDS` parts of the given one.

    So batches mix as many shards, and processes that each take their piece of every batch read each their part of the shards. Images that
    fill no batch stay at the end.

    Args:
        order: (N,) indices, of which neighbours shall stay near.
        batch_size: images in a batch, at most N.
    """
    steps = len(order) // batch_size
    pieces = [len(piece) for piece in np.array_split(np.arange(batch_size), MIXED_SHARDS)]
    lanes = np.split(order[: steps * batch_size], steps * np.cumsum(pieces)[:-1])
    batches = np.concatenate([lane.reshape(steps, size) for lane, size in zip(lanes, pieces, strict=True)], axis=1)
    return np.concatenate([batches.ravel(), order[steps * batch_size :]])


SAMPLE_ORDERS: dict[str, Callable[[Any, np.random.Generator], np.ndarray]] = {
    "shuffle": shuffle,
    "class_aware": class_aware,
    "by_shard": by_shard,
}

GO_BY_GROUPS = frozenset({"by_shard"})
"""Orders that go by where images lie, not by their targets."""


class EpochSampler:
    """Batches of sample keys for one process, for a DataLoader; `epoch` and `start` say where the next iteration begins.

    Every process walks through the same global batches and takes its share of each. The last batch is dropped if it is short, unless it is
    the only one. Where images make fewer than `min_steps` batches, they come again, in another order, until there are as many.

    Args:
        targets: the target of each training image; for "class_aware", (N,) classes.
        order: one of `SAMPLE_ORDERS`.
        batch_size: images in a batch, over all processes.
        seed: the recipe's seed.
        min_steps: batches that an epoch has at least.
        rank: this process.
        world: number of processes.
        groups: for "by_shard", (N,) shard of each training image.

    Raises:
        UsageError: if a batch cannot be split evenly among the processes.
    """

    def __init__(
        self,
        targets: Sized,
        *,
        order: str,
        batch_size: int,
        seed: int,
        min_steps: int = 1,
        rank: int = 0,
        world: int = 1,
        groups: np.ndarray | None = None,
    ) -> None:
        check_share(batch_size, world)
        self.batch_size = min(batch_size, len(targets) - len(targets) % world)
        if not self.batch_size:
            raise UsageError(f"{len(targets)} training images are too few for {world} processes")
        self.steps = max(min_steps, len(targets) // self.batch_size)
        self.targets, self.order, self.seed, self.rank, self.world = targets, SAMPLE_ORDERS[order], seed, rank, world
        self.by_groups = order in GO_BY_GROUPS
        self.goes_by = groups if self.by_groups else targets
        self.epoch = self.start = 0

    @classmethod
    def of(cls, targets: Sized, recipe: DataRecipe, groups: np.ndarray | None = None, **place: int) -> "EpochSampler":
        """Return the sampler that a recipe asks for; `place` is seed, rank and world."""
        return cls(targets, order=recipe.sampler, batch_size=recipe.batch_size, min_steps=recipe.min_steps, groups=groups, **place)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return self._batches(self.epoch, self.start)  # bound now: the attributes may move on before the first batch is asked for

    def shares(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Iterate over this process's shares of an epoch's batches, from batch `start` on: indices (N,) and repeats (N,) of its images."""
        random, rounds = np.random.default_rng((self.seed % WORD, epoch)), -(-len(self) * self.batch_size // len(self.targets))
        orders = [self.order(self.goes_by, random) for _ in range(rounds)]
        indices = np.concatenate([in_lanes(order, self.batch_size) for order in orders] if self.by_groups else orders)
        repeats = occurrences(indices)
        for batch in range(start, len(self)):
            whole = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield self._own(indices[whole]), self._own(repeats[whole])

    def share(self, epoch: int, batch: int) -> list[int]:
        """Return the indices of this process's images of one batch of an epoch."""
        return next(self.shares(epoch, batch))[0].tolist()

    def _own(self, batch: np.ndarray) -> np.ndarray:
        """Return this process's part of a batch; where shards matter it is one piece, so that processes of one machine share shards."""
        return np.split(batch, self.world)[self.rank] if self.by_groups else batch[self.rank :: self.world]

    def _batches(self, epoch: int, start: int) -> Iterator[list[SampleKey]]:
        for indices, repeats in self.shares(epoch, start):
            yield [SampleKey(epoch, *pair) for pair in zip(indices.tolist(), repeats.tolist(), strict=True)]


def check_share(batch_size: int, world: int) -> None:
    """Raise UsageError if a batch cannot be split evenly among processes."""
    if batch_size % world:
        raise UsageError(f"data.batch_size {batch_size} must be a multiple of the {world} processes that share it")


def groups_of(images: object) -> np.ndarray | None:
    """Return which images of a set are best read one after the other, (N,) int64 as `groups` of the set says, or None."""
    return getattr(images, "groups", None)


def occurrences(values: np.ndarray) -> np.ndarray:
    """Count, for each value, the equal values before it: (N,) int64."""
    by_value = np.argsort(values, kind="stable")
    ordered = values[by_value]
    ranks = np.empty(len(values), np.int64)
    ranks[by_value] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return ranks


def _rounds(items: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw `count` items: all of them in random order, then all again in another, and so on."""
    rounds = -(-count // len(items))
    return random.permuted(np.tile(items, (rounds, 1)), axis=1).ravel()[:count]


def _by_class(values: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each class that occurs in `labels` within `values`."""
    by_value = np.argsort(values, kind="stable")
    return np.split(by_value, np.searchsorted(values[by_value], np.unique(labels)[1:]))
