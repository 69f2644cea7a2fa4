"""Files that list images, one a line."""

import os
from pathlib import Path

from senet.data.image_file import open_regular

LARGEST_LIST = 2**28
"""Bytes of the largest list of images that is read."""


def listed_lines(path: Path) -> list[str]:
    """Return the lines of a list that say something, without space around them."""
    with open_regular(path) as file:
        return [os.fsdecode(line.strip()) for line in file.read(LARGEST_LIST).splitlines() if line.strip()]
