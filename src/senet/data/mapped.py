"""Large arrays that took long to compute, kept as files that are mapped into memory: several processes share one copy of what they read."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from senet.atomic import NotWrittenError, replacing
from senet.data.kept import arrays_folder, locked, make_room, read_times, room_in_bytes
from senet.errors import UsageError, reason_of
from senet.text import printable

log = logging.getLogger("senet")

ROOM_VARIABLE = "SENET_CACHE_GB"
"""Variable of the environment that says how many gigabytes of such arrays are kept; 0 = none."""

ROOM_IN_GB = 20.0
"""How many there are where it says nothing: 250 prepared brains of 256 voxels each way with their masks."""

IN_USE = 24 * 3600
"""Seconds since an array was last read within which it is not removed to make room: sets that do not fit together would alternate."""

NOTED_EVERY = 3600
"""Seconds after which it is noted again that an array is read."""


def room_for_arrays() -> int:
    """Return how many bytes of arrays are kept.

    Raises:
        UsageError: if the environment says no number.
    """
    return room_in_bytes(ROOM_VARIABLE, os.environ.get(ROOM_VARIABLE) or str(ROOM_IN_GB), ", 0 = keep none", least=0.0)


@dataclass(frozen=True)
class ArrayForm:
    """Name, type and shape of an array; a file that holds another is written anew.

    Args:
        name: letters, digits and "-": a digest of all that the array depends on.
        dtype: its type.
        shape: its shape.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]


def mapped_array(form: ArrayForm, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return an array that was computed before under its name, or compute and keep it, whole or not at all.

    Files lie in the folder "volumes" of `arrays_folder`, which is the user's alone. Where there is no room for one (`SENET_CACHE_GB`, or
    half of what the disk has free), those that nobody read for a day go first; processes that write at once may exceed it by one array
    each. Of several processes that ask for one array, one computes it.

    Args:
        form: of the array.
        compute: returns it.

    Returns:
        A `numpy.memmap` whose changes stay with the process, or the computed array itself where nothing could be kept.
    """
    room = room_for_arrays()
    if not room:
        return compute()
    path = arrays_folder() / "volumes" / f"{form.name}.npy"
    if (found := _mapped(path, form)) is not None:
        return found
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")) as may_write:
        if (found := _mapped(path, form)) is not None:
            return found
        array = compute()
        if trouble := _write(path, array, room) if may_write else "nothing can be locked there":
            _say(path.parent, trouble)
        found = None if trouble else _mapped(path, form)
    return array if found is None else found


def _mapped(path: Path, form: ArrayForm) -> np.memmap | None:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if time.time() - path.stat().st_mtime > NOTED_EVERY:
            os.utime(path)
    except (OSError, ValueError, EOFError):  # missing or damaged
        return None
    return array if isinstance(array, np.memmap) and (array.dtype, array.shape) == (form.dtype, form.shape) else None


def _write(path: Path, array: np.ndarray, room: int) -> str | None:
    """Write an array; return what is in the way, in words."""
    try:
        if not _make_room(path.parent, array.nbytes, room):
            return f"{array.nbytes / 1e9:.2g} GB more do not fit ({ROOM_VARIABLE}={room / 1e9:g}, or the disk is full)"
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    except (OSError, NotWrittenError, UsageError) as error:
        return reason_of(error)
    return None


def _make_room(folder: Path, needed: int, room: int) -> bool:
    """Remove what was not read for long until there is room; return whether there is."""
    files = read_times(path for path in folder.iterdir() if path.is_file())
    held = sum(size for _, size, _ in files)
    return make_room(files, needed, min(room, held + shutil.disk_usage(folder).free // 2), IN_USE)


@cache
def _say(folder: Path, trouble: str) -> None:
    log.warning("prepared volumes are not kept in %s: %s; each process prepares them for itself", printable(folder, None), trouble)
