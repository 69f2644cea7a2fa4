"""One process at a time trains in the folder of a run. No torch."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from senet.atomic import write_text
from senet.errors import UsageError
from senet.locks import take_sole_lock
from senet.text import printable

LOCK, HOLDER = ".lock", ".holder.json"
"""The file that is locked, and beside it who locked it. Both may stay behind: the system frees a lock when its process ends."""

PATIENCE = 1.0
"""Seconds that a process waits for one that is just ending."""


class HeldError(UsageError):
    """Folder that another process holds.

    Args:
        folder: the folder.
        holder: which process that is, in words.
    """

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(folder, holder)
        self.folder, self.holder = folder, holder

    def __str__(self) -> str:
        return f"another process trains here, {self.holder}: {str(self.folder)!r}; wait for its end, or name another folder with --folder"


class FolderLostError(Exception):
    """Folder that is no longer this process's."""

    exit_code = 1


@contextmanager
def only_process(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Let no other process train in a folder while the block runs; the folder is made if need be.

    Where the file system has no locks, a warning says so. Inside another such block of the same thread this does nothing.

    Args:
        folder: the folder.
        patience: seconds to wait for another process to end; negative = as long as it takes.

    Raises:
        HeldError: if another process holds the folder; it is named.
        UsageError: if nothing can be written there.
    """
    lock = FileLock(folder / LOCK, is_singleton=True)
    if lock.is_locked:
        yield
        return
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.callback(lock.release)
            take_sole_lock(lock, patience, "trains")
            write_text(folder / HOLDER, json.dumps(_this_process(), allow_nan=False))
        except Timeout:
            raise HeldError(folder, _holder(folder)) from None
        except OSError as error:
            raise UsageError(f"cannot write in {str(folder)!r}: {error.strerror}; name another folder") from error
        try:
            yield
        finally:
            with suppress(OSError):  # of a disk that can only be read by now
                if _noted(folder) == _this_process():
                    (folder / HOLDER).unlink()


def check_held(folder: Path) -> None:
    """Raise FolderLostError if a folder that this process holds has been taken by another; without `HOLDER`, nothing tells."""
    if _noted(folder) not in (None, _this_process()):
        raise FolderLostError(f"another process has taken {str(folder)!r}, {_holder(folder)}: this one writes nothing there any more")


def _noted(folder: Path) -> object:
    """Return what `HOLDER` says, None if nothing."""
    with suppress(OSError, ValueError, RecursionError):
        return json.loads((folder / HOLDER).read_bytes())
    return None


def _this_process() -> object:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _holder(folder: Path) -> str:
    """Return in words who holds the lock of a folder."""
    holder: Any = _noted(folder)
    try:
        return f"pid {int(holder['pid'])} on {printable(holder['host'], 60)}"
    except (ValueError, LookupError, TypeError):
        return "which has not said its number yet"
