"""Objects of an image by a text file of YOLO."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from senet.data.image_file import open_regular

LARGEST_TEXT = 2**24
"""Bytes of the largest file that is read."""

LARGEST_SHARE = 10.0
"""Coordinate, in sides of the image, beyond which a number is none: it may be of pixels."""

CORNERS_FROM = 7
"""Words of a line from which on it says the corners of a polygon."""


class YoloObject(NamedTuple):
    """One object.

    Args:
        number: its class.
        xyxy: left, top, right and bottom, in shares of the image's sides.
        polygon: x, y, x, y, ... in such shares; None = only the box is known.
    """

    number: int
    xyxy: tuple[float, float, float, float]
    polygon: list[float] | None


@dataclass(frozen=True)
class YoloFile:
    """Contents of a file.

    Args:
        objects: in the order of the lines.
        wrong: numbers of the lines, from 1, that say none.
    """

    objects: tuple[YoloObject, ...]
    wrong: tuple[int, ...]


def read_yolo(path: Path, *, keypoints: bool = False) -> YoloFile:
    """Read a file, a line an object: its class, then centre, width and height of its box, or the corners of its polygon, in shares.

    Args:
        path: the file.
        keypoints: whether points of the object follow its box, which are not read.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is too large, or no text.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise ValueError(f"has more than {LARGEST_TEXT} bytes")
    if b"\0" in content:
        raise ValueError("is no text")
    lines = {place: line.split() for place, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1)}
    found = {place: _object(words[:5] if keypoints else words) for place, words in lines.items() if words}
    return YoloFile(tuple(one for one in found.values() if one is not None), tuple(place for place, one in found.items() if one is None))


def _object(words: list[str]) -> YoloObject | None:
    """Return what a line says; None if it is no object."""
    try:
        number, *shares = map(float, words)
    except ValueError:
        return None
    if not number.is_integer() or not all(abs(share) <= LARGEST_SHARE for share in shares):
        return None
    if len(words) == 5:
        x, y, width, height = shares
        return YoloObject(int(number), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), None)
    if len(words) < CORNERS_FROM or len(words) % 2 == 0:
        return None
    across, down = shares[::2], shares[1::2]
    return YoloObject(int(number), (min(across), min(down), max(across), max(down)), shares)
