"""Arrays mapped from files: written whole or not at all, within bounds, prepared again where a file is missing or damaged."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from senet.data import mapped
from senet.data.mapped import ArrayForm, mapped_array, room_for_arrays
from senet.errors import UsageError

SHAPE = (10, 100)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mapped._say.cache_clear()
    return tmp_path / "senet" / "volumes"


def kept(name: str, calls: list[str], value: float = 1.0) -> np.ndarray:
    def compute() -> np.ndarray:
        calls.append(name)
        return np.full(SHAPE, value, np.float32)

    return mapped_array(ArrayForm(name, np.dtype(np.float32), SHAPE), compute)


def test_the_second_time_a_file_is_mapped_and_changes_do_not_reach_it(own_cache: Path) -> None:
    calls: list[str] = []
    first = kept("a", calls)
    first[0] = 5
    again = kept("a", calls)
    assert isinstance(again, np.memmap)
    assert (again == 1).all()
    assert calls == ["a"]
    assert [path.name for path in own_cache.glob("*.npy*")] == ["a.npy"]


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "type", "shape", "pickle"])
def test_a_file_that_is_not_the_array_is_written_anew(own_cache: Path, damage: str) -> None:
    calls: list[str] = []
    kept("a", calls)
    path = own_cache / "a.npy"
    content = path.read_bytes()
    {
        "cut": lambda: path.write_bytes(content[:-10]),
        "empty": lambda: path.write_bytes(b""),
        "header": lambda: path.write_bytes(bytes(40) + content[40:]),
        "type": lambda: np.save(path, np.ones(SHAPE)),
        "shape": lambda: np.save(path, np.ones((100, 10), np.float32)),
        "pickle": lambda: np.save(path, np.array([print] * 3, object), allow_pickle=True),
    }[damage]()
    assert (kept("a", calls) == 1).all()
    assert calls == ["a", "a"]
    assert path.read_bytes() == content


def test_what_nobody_read_for_long_makes_room(own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", "0.00001")  # 10 kB, two arrays of 4 kB
    calls: list[str] = []
    for name in "ab":
        kept(name, calls)
    assert not isinstance(kept("c", calls), np.memmap), "both were read just now, and stay"
    with caplog.at_level(logging.WARNING):
        kept("c", calls)
    assert sorted(path.stem for path in own_cache.glob("*.npy*")) == ["a", "b"]
    long_ago = time.time() - 2 * mapped.IN_USE
    for name in "ab":
        os.utime(own_cache / f"{name}.npy", (long_ago, long_ago))
    kept("a", calls)  # read again
    assert isinstance(kept("c", calls), np.memmap)
    assert sorted(path.stem for path in own_cache.glob("*.npy*")) == ["a", "c"]
    assert calls == ["a", "b", "c", "c", "c"]


def test_what_cannot_be_kept_is_said_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", "0.000001")
    with caplog.at_level(logging.WARNING):
        kept("a", [])
        kept("b", [])
    (said,) = caplog.messages
    assert "prepared volumes are not kept in" in said
    assert "SENET_CACHE_GB=1e-06" in said
    assert not list(own_cache.glob("*.npy*"))


def test_no_more_than_half_of_what_is_free_is_taken(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 6000}))
    assert not isinstance(kept("a", []), np.memmap)
    monkeypatch.setattr(mapped.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10000}))
    assert isinstance(kept("a", []), np.memmap)


def test_nothing_is_kept_where_that_is_asked_for_or_no_folder_can_be_made(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", "0")
    assert not isinstance(kept("a", []), np.memmap)
    assert not own_cache.exists()
    monkeypatch.delenv("SENET_CACHE_GB")
    own_cache.parent.write_text("no folder")
    assert (kept("a", []) == 1).all()


def test_an_array_that_cannot_be_computed_leaves_nothing(own_cache: Path) -> None:
    def fails() -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mapped_array(ArrayForm("a", np.dtype(np.float32), SHAPE), fails)
    assert not list(own_cache.glob("*.npy*"))


@pytest.mark.parametrize("said", ["much", "-1", "nan", "inf"])
def test_a_room_that_is_no_number_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", said)
    with pytest.raises(UsageError, match=r"SENET_CACHE_GB must be a number of gigabytes"):
        room_for_arrays()


SLOW = """
import sys, time, numpy as np
from senet.data.mapped import ArrayForm, mapped_array
def compute():
    print("computed", flush=True)
    time.sleep(1)
    return np.ones((10, 100), np.float32)
print(mapped_array(ArrayForm("a", np.dtype(np.float32), (10, 100)), compute).sum())
"""


def test_of_several_processes_one_computes() -> None:
    running = [subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[0].split() for process in running]
    assert sorted(word for words in told for word in words) == ["1000.0", "1000.0", "computed"]
