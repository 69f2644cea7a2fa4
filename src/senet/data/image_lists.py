"""Files that list images, one a line."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from senet.data.image_file import open_regular
from senet.errors import UsageError, reason_of

LARGEST_LIST = 2**28
"""Bytes of the largest list of images that is read."""


def listed_lines(path: Path) -> list[str]:
    """Return the lines of a list that say something, without space around them.

    Raises:
        UsageError: if it cannot be read.
    """
    with unreadable_list(path), open_regular(path) as file:
        return list(said_lines(file.read(LARGEST_LIST).splitlines()))


def said_lines(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines that say something, without space around them."""
    return (os.fsdecode(line.strip()) for line in lines if line.strip())


@contextmanager
def unreadable_list(path: Path) -> Iterator[None]:
    """Raise UsageError for what the system says when a list is read inside."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} must be a file that lists images, one a line: {error.strerror or reason_of(error)}") from error


def without_suffix(path: str) -> str:
    """Return a path without the suffix of its last part; one that has no such part, such as "/" or ".", stays."""
    found = PurePath(path)
    return (found.with_suffix("") if found.name else found).as_posix()
