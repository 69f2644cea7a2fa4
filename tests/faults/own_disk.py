"""A disk of a process's own, so small that it fills up, which nobody else sees and which goes with the process."""

import ctypes
import os
from pathlib import Path

NOT_ALLOWED = 77
"""Exit code of a process that may not have a disk of its own here."""

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 1 << 5, 1 << 12, 1 << 14, 1 << 18
"""Flags of unshare(2) and mount(2)."""


def mount_own(place: Path, size: int) -> None:
    """Mount a disk of so many bytes at a folder, for this process alone; end the process with `NOT_ALLOWED` if that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS) and libc.unshare(NEW_USER | NEW_MOUNTS):
        os._exit(NOT_ALLOWED)
    libc.mount(None, b"/", None, RECURSIVE | PRIVATE, None)
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={size}".encode()):
        os._exit(NOT_ALLOWED)


def make_read_only(place: Path) -> None:
    """Let nothing be written any more below a folder, except into files that are open."""
    libc, path = ctypes.CDLL(None), os.fsencode(place)
    assert libc.mount(path, path, None, BIND, None) == 0
    assert libc.mount(None, path, None, BIND | REMOUNT | READ_ONLY, None) == 0
