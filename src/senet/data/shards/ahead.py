"""Shards of an object store that are fetched before their images are read, by a thread beside the training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Thread

import numpy as np

LAST_FETCH = 1.0
"""Seconds that the end of an epoch waits for a shard that is being fetched; what arrives later is kept all the same."""


def first_needed(groups: np.ndarray, shares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the shards of some batches in the order in which they are needed, and the first batch of each: (S,) int64 both.

    Args:
        groups: (N,) shard of each image.
        shares: of each batch the indices of its images.
    """
    batches = np.repeat(np.arange(len(shares)), [len(share) for share in shares])
    shards, firsts = np.unique(groups[np.concatenate(shares)], return_index=True)
    order = np.argsort(firsts)
    return shards[order], batches[firsts[order]]


@contextmanager
def fetched_ahead(fetch: Callable[[int], object], shards: np.ndarray, needed: np.ndarray, ahead: int) -> Iterator[Callable[[int], None]]:
    """Fetch shards in their order while the block runs; yield what is to be told the number of each batch that has arrived.

    Args:
        fetch: fetches one shard.
        shards: (S,) in the order in which they are needed.
        needed: (S,) the batch that needs each first.
        ahead: how many are fetched beyond those that batches up to the last one that arrived need.
    """
    turn, arrived, ended = Condition(), -1, False

    def work() -> None:
        for place, shard in enumerate(shards.tolist()):
            with turn:
                turn.wait_for(lambda place=place: ended or place < np.searchsorted(needed, arrived, side="right") + ahead)
                if ended:
                    return
            try:
                fetch(shard)
            except Exception:  # whoever reads an image of it meets with the same, and says it
                return

    def tell(batch: int) -> None:
        nonlocal arrived
        with turn:
            arrived = batch
            turn.notify()

    thread = Thread(target=work, name="shards", daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        with turn:
            ended = True
            turn.notify()
        thread.join(LAST_FETCH)
