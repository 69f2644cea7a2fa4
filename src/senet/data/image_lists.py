"""Files that list images, one a line."""

import os
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
    try:
        with open_regular(path) as file:
            return [os.fsdecode(line.strip()) for line in file.read(LARGEST_LIST).splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"{path} must be a file that lists images, one a line: {error.strerror or reason_of(error)}") from error


def without_suffix(path: str) -> str:
    """Return a path without the suffix of its last part; one that has no such part, such as "/" or ".", stays."""
    found = PurePath(path)
    return (found.with_suffix("") if found.name else found).as_posix()
