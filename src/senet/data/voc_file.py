"""Objects of an image by an XML file of Pascal VOC."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from senet.data.box_marks import NOWHERE
from senet.data.image_file import open_regular

LARGEST_XML = 2**22
"""Bytes of the largest file that is read; those of VOC have 4,000."""

DEEPEST_XML = 20
"""Elements that may lie in each other."""

LONGEST_CLASS = 200
"""Letters of a class."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """One object.

    Args:
        name: its class.
        xyxy: left, top, right and bottom; nan where the file says no numbers.
        difficult: whether it is hard to recognise, so that it is not judged.
        begins_at_zero: whether it begins before VOC's first pixel, which is 1.
    """

    name: str
    xyxy: tuple[float, float, float, float]
    difficult: bool
    begins_at_zero: bool


@dataclass(frozen=True)
class VocFile:
    """Contents of a file.

    Args:
        size: width and height of the image; zeros = unsaid.
        objects: in the order of the file.
    """

    size: tuple[int, int]
    objects: tuple[VocObject, ...]


def read_voc(path: Path) -> VocFile:
    """Read a file.

    Pixels are counted from 1 and xmax and ymax are inside of the box, so that left is xmin - 1 and right xmax.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no XML of this form, has a document type (which may define entities), or is too large.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_XML + 1)
    if len(content) > LARGEST_XML:
        raise ValueError(f"has more than {LARGEST_XML} bytes")
    tree = plain_xml(content)
    if tree.tag != "annotation":
        raise ValueError(f"is XML of <{tree.tag[:40]}>, not of <annotation>")
    return VocFile((_side(tree, "width"), _side(tree, "height")), tuple(map(_object, tree.findall("object"))))


def plain_xml(content: bytes) -> Element:
    """Return the tree of XML without a document type: nothing is fetched or expanded.

    Raises:
        ValueError: if it is none, or its elements lie in each other too deeply.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    level = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level
        level += 1
        if level > DEEPEST_XML:
            raise ValueError(f"has elements in more than {DEEPEST_XML} levels")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal level
        level -= 1
        builder.end(name)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"is no XML: {error}") from error
    except LookupError as error:
        raise ValueError(f"is in an unknown encoding: {error}") from error
    return builder.close()


def _refuse(*_: object) -> None:
    raise ValueError("has a document type, which is not read")


def _side(tree: Element, name: str) -> int:
    side = _number(tree.findtext(f"size/{name}"), lambda text: int(float(text)))
    return int(side) if 0 <= side <= 10**6 else 0


def _object(entry: Element) -> VocObject:
    name = " ".join((entry.findtext("name") or "").split())[:LONGEST_CLASS]
    corners = [_number(entry.findtext(f"bndbox/{corner}"), float) for corner in CORNERS]
    difficult = _number(entry.findtext("difficult"), float) == 1
    if not all(map(isfinite, corners)):
        return VocObject(name, NOWHERE, difficult, begins_at_zero=False)
    left, top, right, bottom = corners
    return VocObject(name, (left - 1, top - 1, right, bottom), difficult, begins_at_zero=min(left, top) < 1)


def _number(text: str | None, read: Callable[[str], float]) -> float:
    """Return the number that a text says; -inf if it says none."""
    try:
        return read(text or "")
    except (ValueError, OverflowError):
        return -inf
