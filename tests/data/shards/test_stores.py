"""Shards of an object store: fetched once, checked, kept within bounds, and the same images as in a folder."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.shards.made_folder import open_shards, sharded
from senet.data.delivery import DataError
from senet.data.fingerprint import fingerprint
from senet.data.kept import make_room
from senet.data.shards import stores
from senet.data.shards.source import ShardImages
from senet.data.shards.stores import fetched_shards, room_for_shards
from senet.errors import UsageError


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is asked of object stores from now on."""
    asked, open_url = list[str](), stores.open_url
    monkeypatch.setattr(stores, "open_url", lambda url: asked.append(url.rpartition("/")[2]) or open_url(url))
    return asked


def test_an_object_store_gives_the_images_of_the_folder(bucket: str, shards: Path, fetched: list[str], kept: Path) -> None:
    here, there = open_shards(shards), open_shards(bucket + "/")
    assert fingerprint(here.train) == fingerprint(there.train)
    for index in range(len(here.train)):
        assert np.array_equal(np.asarray(here.train.read(index)), np.asarray(there.train.read(index)))
    assert sorted(fetched) == sorted({"shards.json", "train.npz", "val.npz", *(shard.file for shard in sharded(there.train).shards)})
    open_shards(bucket).train.read(0)
    left = {path.name for path in kept.glob("*/*") if path.suffix != ".lock"}
    assert left == {shard.file for shard in sharded(there.train).shards}, "nothing else is left behind"
    assert fetched.count(sharded(there.train).shards[0].file) == 1, "shards that are kept are not fetched again"


def test_a_web_server_will_do(shards: Path, kept: Path, web: str) -> None:
    assert np.array_equal(np.asarray(open_shards(web).val.read(3)), np.asarray(open_shards(shards).val.read(3)))


def gigabytes(images: ShardImages, shards: float) -> str:
    return str(shards * max(shard.bytes for shard in images.shards) / 1e9)


def test_what_is_kept_has_bounds(bucket: str, shards: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]) -> None:
    local = sharded(open_shards(shards).train)
    monkeypatch.setenv("SENET_SHARDS_GB", gigabytes(local, 10.1))
    images = sharded(open_shards(bucket, sampler="by_shard").train)
    for index in np.argsort(images.groups, kind="stable").tolist():
        assert images.content(index) == local.content(index)
        assert len(list(kept.glob("*/*.tar"))) <= 10
    assert fetched.count("train-000000.tar") == 1
    images.content(int(np.argmin(images.groups)))
    assert fetched.count("train-000000.tar") == 2, "what had to go is fetched again"


def test_without_room_for_all_images_in_any_order_are_fetched_one_by_one(
    bucket: str, shards: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = sharded(open_shards(shards).train)
    monkeypatch.setenv("SENET_SHARDS_GB", gigabytes(local, 2.1))
    source = open_shards(bucket, sampler="class_aware")
    (note,) = source.notes
    assert "each training image is fetched by itself; data.sampler by_shard fetches whole shards" in note
    assert [sharded(source.train).content(index) for index in range(6)] == [local.content(index) for index in range(6)]
    assert not list(kept.glob("*/*.tar"))
    source.val.read(0)
    assert len(list(kept.glob("*/*.tar"))) == 1


def test_less_room_than_is_read_at_a_time_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_SHARDS_GB", "0.000001")
    with pytest.raises(UsageError, match=r"1.02e-05 GB of its shards are needed at a time, and 1e-06 GB are kept; raise SENET_SHARDS_GB"):
        open_shards(bucket)
    monkeypatch.setenv("SENET_SHARDS_GB", "0.00005")
    with pytest.raises(UsageError, match=r"0.000102 GB of its shards are needed at a time"):
        open_shards(bucket, sampler="by_shard")


@pytest.mark.parametrize("said", ["0", "-1", "nan", "inf", "much"])
def test_a_room_that_is_no_number_is_refused(said: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_SHARDS_GB", said)
    with pytest.raises(UsageError, match="SENET_SHARDS_GB must be a number of gigabytes above 0"):
        room_for_shards()


def test_what_was_read_longest_ago_goes_first(kept: Path) -> None:
    (kept / "set").mkdir(parents=True)
    for age, name in enumerate("abc"):
        path = kept / "set" / f"{name}.tar"
        path.write_bytes(bytes(1000))
        os.utime(path, (1e9 - age, 1e9 - age))
    assert make_room(fetched_shards(), 1500, 3000)
    assert [path.name for path in kept.glob("*/*")] == ["a.tar"]


def tamper(path: str, target: str, callback: object) -> None:
    Path(target).write_bytes(b"other bytes")


def refuse(path: str, target: str, callback: object) -> None:
    raise TimeoutError("the store does not answer")


@pytest.mark.parametrize(
    ("get_file", "words"),
    [
        (tamper, r"train-\d+.tar cannot be fetched: what arrived has the SHA-256 [0-9a-f]{64}, and [0-9a-f]{64} was written"),
        (refuse, r"train-\d+.tar cannot be fetched: the store does not answer; once it can, resume the run"),
    ],
)
def test_what_cannot_be_fetched_is_tried_again_and_ends_the_run(
    bucket: str, kept: Path, monkeypatch: pytest.MonkeyPatch, get_file: Callable, words: str
) -> None:
    images, pauses = open_shards(bucket).train, list[float]()
    monkeypatch.setattr(stores.time, "sleep", pauses.append)
    monkeypatch.setattr(stores, "open_url", lambda url: (SimpleNamespace(get_file=get_file, protocol="s3"), url))
    with pytest.raises(DataError, match=words):
        images.read(0)
    assert pauses == list(stores.PAUSES)
    assert {path.suffix for path in kept.glob("*/*")} == {".lock"}


def test_an_address_without_shards_is_one_line(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(UsageError, match=r"s3://photos/none/shards.json is not there; data.root must be"):
        open_shards("s3://photos/none")
