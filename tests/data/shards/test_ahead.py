"""Shards are fetched before they are needed, each machine its own; a server that fails now and then is asked again."""

import time
from pathlib import Path
from queue import Queue

import numpy as np
import pytest

from data.shards.made_folder import open_shards
from data.shards.made_server import CountingServer
from senet.data.delivery import DataError
from senet.data.loaders import TrainLoader, train_loader
from senet.data.shards import stores
from senet.data.shards.ahead import fetched_ahead, first_needed
from senet.recipe import DataRecipe

BATCH = 6

BY_SHARD = DataRecipe(image_size=8, batch_size=BATCH, workers=0, sampler="by_shard")


def loader(url: str, rank: int = 0, world: int = 1) -> TrainLoader:
    return train_loader(open_shards(url, sampler="by_shard"), BY_SHARD, seed=0, rank=rank, world=world)


def test_shards_are_needed_where_their_first_image_is() -> None:
    shards, needed = first_needed(np.array([5, 5, 7, 9, 9]), [np.array([2, 0]), np.array([1]), np.array([4, 3])])
    assert (shards.tolist(), needed.tolist()) == ([7, 5, 9], [0, 0, 2])


def test_so_many_are_fetched_before_a_batch_needs_them_and_no_more() -> None:
    asked: Queue[int] = Queue()
    with fetched_ahead(asked.put, np.arange(6), np.array([0, 0, 1, 2, 2, 3]), ahead=2) as tell:
        assert [asked.get(timeout=60) for _ in range(2)] == [0, 1]
        time.sleep(0.1)
        assert asked.empty()
        tell(0)
        assert [asked.get(timeout=60) for _ in range(2)] == [2, 3]
        tell(1)
        assert asked.get(timeout=60) == 4
    time.sleep(0.1)
    assert asked.empty(), "nothing is fetched once the block has ended"


def test_what_cannot_be_fetched_ahead_is_left_to_whoever_reads_it() -> None:
    def refuse(shard: int) -> None:
        raise DataError("gone")

    with fetched_ahead(refuse, np.arange(3), np.arange(3), ahead=3) as tell:
        tell(2)


def test_the_first_batch_brings_shards_that_later_ones_need(counting: CountingServer, kept: Path) -> None:
    batches = loader(counting.url).epoch(0)
    next(batches)
    deadline = time.monotonic() + 60
    while len(set(counting.shards())) <= BATCH and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(set(counting.shards())) > BATCH
    assert len(list(batches)) == 36 // BATCH - 1
    assert len(counting.shards()) == len(set(counting.shards())), "each is fetched once"


def test_each_machine_fetches_its_own_shards(counting: CountingServer, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    for rank in range(2):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine {rank}"))
        counting.asked.clear()
        list(loader(counting.url, rank, world=2).epoch(0))
        fetched.append(counting.shards())
    shards = len(list(Path(counting.folder).glob("train-*.tar")))
    assert set(fetched[0]) | set(fetched[1]) == {path.name for path in Path(counting.folder).glob("train-*.tar")}
    assert shards <= sum(map(len, fetched)) <= shards + 1, "one shard may lie on the border"


def test_a_server_that_fails_now_and_then_is_asked_again(counting: CountingServer, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "PAUSES", (0.0, 0.0, 0.0))
    counting.failures = 3
    images = open_shards(counting.url).train
    assert images.read(0).size == (8, 8)
    assert len(counting.shards()) == 4
    counting.failures = 100
    with pytest.raises(DataError, match=r"train-\d+\.tar cannot be fetched: 503, .*; once it can, resume the run"):
        [images.read(index) for index in range(len(images))]
    assert len(counting.shards()) == 8, "four attempts"
