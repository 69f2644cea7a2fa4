"""Arrays that took long to compute, kept in the user's cache folder for the next time."""

import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock

from senet.atomic import NotWrittenError, replacing
from senet.errors import UsageError
from senet.locks import take_lock
from senet.text import printable

Arrays = dict[str, np.ndarray]

KEPT_FILES = 64
"""How many files are kept; the oldest go."""

WAIT = 3600
"""Seconds after which a process no longer waits for another that computes the same."""


def arrays_folder() -> Path:
    """Return where arrays are kept: the folder "senet" of $XDG_CACHE_HOME, which is ~/.cache unless it is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "senet").expanduser()


def room_in_bytes(variable: str, said: str, wanted: str, *, least: float) -> int:
    """Return the room in bytes that a variable of the environment gives in gigabytes.

    Args:
        variable: its name.
        said: its value.
        wanted: what the error says that it must be.
        least: the smallest number that it may be.

    Raises:
        UsageError: if it is no such number.
    """
    try:
        room = float(said)
    except ValueError:
        room = -1.0
    if not least <= room < 1e9:  # false for nan, too
        raise UsageError(f"{variable} must be a number of gigabytes{wanted}, got {printable(said)!r}")
    return int(room * 1e9)


def kept_arrays(name: str, like: Mapping[str, str], compute: Callable[[], Arrays]) -> Arrays:
    """Return arrays that were computed before under a name, or compute and keep them; of several processes, one computes.

    Args:
        name: letters, digits and "-": a digest of all that the arrays depend on.
        like: name of each array -> the kind of its type ("i", "u", ...); a file that holds others is computed again.
        compute: returns the arrays.
    """
    path = arrays_folder() / f"{name}.npz"
    with locked(path.with_suffix(".lock")) as may_write:
        if (found := _read(path, like)) is not None:
            return found
        arrays = compute()
        if may_write:
            _write(path, arrays)
    return arrays


def read_times(paths: Iterable[Path]) -> list[tuple[float, int, Path]]:
    """Return when each file was last noted to be read (its time of change), its bytes and its path, sorted by them; some may be gone."""
    found = []
    for path in paths:
        with suppress(OSError):
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    return sorted(found)


def make_room(files: Sequence[tuple[float, int, Path]], needed: int, room: int, unread_for: float = 0.0) -> bool:
    """Remove files, those that were read longest ago first, until there is room for so many bytes more; return whether there is.

    Args:
        files: as `read_times` gives them.
        needed: bytes.
        room: bytes that files may have together.
        unread_for: seconds within which a file that was read is not removed.
    """
    held = sum(size for _, size, _ in files)
    for read_at, size, path in files:
        if held + needed <= room or (unread_for and time.time() - read_at < unread_for):
            break
        with suppress(OSError):  # another process removed it, or holds it open on a system that minds
            path.unlink()
            held -= size
    return held + needed <= room


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file; yield whether there is a place to write to. Where nothing can be locked nothing is kept."""
    lock, taken = FileLock(path), False
    with suppress(OSError):  # a timeout, too
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = take_lock(lock, WAIT)
    try:
        yield taken
    finally:
        lock.release()


def _read(path: Path, like: Mapping[str, str]) -> Arrays | None:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):  # missing or damaged
        return None
    return arrays if {key: values.dtype.kind for key, values in arrays.items()} == dict(like) else None


def _write(path: Path, arrays: Arrays) -> None:
    with suppress(OSError, NotWrittenError, UsageError):
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType] - no array is called allow_pickle
        kept = sorted(path.parent.glob("*.npz"), key=lambda other: other.stat().st_mtime)
        for old in kept[:-KEPT_FILES]:
            old.unlink()
