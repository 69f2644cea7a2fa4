"""Arrays kept in the user's cache folder: used again, computed anew where the file is damaged, never left half written."""

import fcntl
from pathlib import Path

import numpy as np
import pytest

from senet.data import kept as keeping
from senet.data.kept import arrays_folder, kept_arrays, locked


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def kept(calls: list[int]) -> np.ndarray:
    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"values": np.arange(1000)}

    return kept_arrays("digest", {"values": "i"}, compute)["values"]


def test_the_second_time_nothing_is_computed() -> None:
    calls: list[int] = []
    assert np.array_equal(kept(calls), kept(calls))
    assert len(calls) == 1
    assert [path.name for path in arrays_folder().glob("*.npz*")] == ["digest.npz"]


@pytest.mark.parametrize("place", [0, 100, 300, -30])
def test_a_damaged_file_is_computed_anew(place: int) -> None:
    calls: list[int] = []
    kept(calls)
    path = arrays_folder() / "digest.npz"
    damaged = bytearray(path.read_bytes())
    damaged[place : place + 20 or None] = bytes(byte ^ 0xFF for byte in damaged[place : place + 20 or None])
    path.write_bytes(bytes(damaged))
    assert np.array_equal(kept(calls), np.arange(1000))
    assert len(calls) == 2


def test_who_waited_for_a_lock_holds_that_of_those_who_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WAIT", 0.1)
    path = tmp_path / "folder" / "a.lock"
    with locked(path) as first:
        waiting = path.open()
    with waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with locked(path) as second:
            pass
    with locked(path) as third:
        pass
    assert (first, second, third) == (True, False, True)
