"""Compiled libraries that stay for other processes: named by their own checksum, so that a damaged one is never loaded."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock, Timeout

from senet.locks import take_lock

KEPT = "senet_cpp_*.so"


def cache_folder() -> Path:
    """Return where torch keeps what it builds."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR", Path(cache_home, "torch_extensions"))).expanduser()


def whole_library(folder: Path) -> Path | None:
    """Return a library of a folder that is as it was written; None if there is none."""
    with suppress(OSError):
        for path in sorted(folder.glob(KEPT)):
            with suppress(OSError):  # of one that may not be read: another may be
                if path.name == KEPT.replace("*", _checksum(path.read_bytes())):
                    return path
    return None


def keep_library(built: Path, folder: Path) -> Path:
    """Copy a library to a folder in one step, in place of damaged ones; return its path there."""
    data = built.read_bytes()
    kept = folder / KEPT.replace("*", _checksum(data))
    new = built.with_name("new")
    new.write_bytes(data)
    new.replace(kept)
    for other in folder.glob(KEPT):
        if other != kept:
            with suppress(OSError):
                other.unlink()
    return kept


@contextmanager
def sole_builder(folder: Path, seconds: float) -> Iterator[Path]:
    """Yield a fresh folder to build in, while no other process builds; the system ends the wait for one that dies.

    Raises:
        TimeoutError: if another builds for longer than so many seconds.
        OSError: if nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        locked = take_lock(lock, seconds)  # without, on a file system that has none, each builds, for itself
    except Timeout:  # an OSError, too
        raise TimeoutError(f"another process has been building in {folder} for {seconds:.0f} s") from None
    try:
        if locked:
            for left in folder.glob("build-*"):  # of processes that were killed
                shutil.rmtree(left, ignore_errors=True)
        place = Path(mkdtemp(prefix="build-", dir=folder))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
    finally:
        lock.release()


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
