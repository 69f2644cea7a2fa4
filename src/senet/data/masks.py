"""Masks: the class of every pixel, (H, W) uint8, of files that say it by an index, by a colour, or by which object a pixel belongs to."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from senet.data.image_file import TURNS, open_image, open_regular, orientation
from senet.data.source import UnreadableImageError
from senet.errors import UsageError, reason_of
from senet.recipe import DataRecipe
from senet.text import printable

IGNORE = 255
"""Class index of the pixels in which nothing is to be learnt or judged."""

COLOUR = 2**24
"""What is added to a colour, red x 65536 + green x 256 + blue, that the palette lacks, to make a label of it that no index is."""

LOSSY = ("JPEG", "MPO")
"""Formats that change labels, as lossy WebP does."""

LABELS_SHOWN = 5
"""How many labels or colours a message names."""

Colour = tuple[int, int, int]
Palette = tuple[Colour, ...]
MaskKind = Literal["index", "colour", "instances"]
LabelMap = Mapping[int | Literal["others"], int | None]


@dataclass(frozen=True)
class MaskReading:
    """Manner in which mask files are read.

    Args:
        kind: what a pixel's value is: "index" (a label), "colour" (of the palette, whose place is the label) or "instances" (the number of
            an object, label 1; 0 is label 0).
        palette: colour of each label; needed for kind "colour".
        label_map: label -> class, None = ignored; "others" stands for all labels that it does not name. None = labels are classes.
        ignore: label that is ignored unless the map names it; None = none is.
        classes: number of classes; None = any label is one.
        max_pixels: largest width x height.
    """

    kind: MaskKind = "index"
    palette: Palette | None = None
    label_map: LabelMap | None = None
    ignore: int | None = IGNORE
    classes: int | None = None
    max_pixels: int = DataRecipe.max_pixels

    def class_of(self, label: int) -> int | None:
        """Return the class of a label; None if it is ignored. It is the label itself where nothing else is said of it."""
        named = self.label_map or {}
        if label in named:
            return named[label]
        return None if label == self.ignore else named.get("others", label)

    def is_known(self, found: int | None) -> bool:
        """Return whether what `class_of` returned can stand in a mask."""
        return found is None or found < (IGNORE if self.classes is None else self.classes)


def read_mask(path: str | os.PathLike[str], reading: MaskReading = MaskReading()) -> np.ndarray:
    """Read a mask file, upright as images are: (H, W) uint8 of class indices, `IGNORE` where nothing is known.

    Raises:
        UnreadableImageError: if it cannot be read, or holds labels that are no class; the message names the file and the reason.
    """
    return mask_of(read_raw_mask(path, reading), reading, printable(os.fspath(path), None))


def mask_of(labels: np.ndarray, reading: MaskReading, name: str) -> np.ndarray:
    """Return the classes of labels, of any integer type: (H, W) uint8.

    Raises:
        UnreadableImageError: for labels that are no class; `name` says whose.
    """
    values, counts = distinct(labels)
    classes = [reading.class_of(value) for value in values.tolist()]
    if unknown := {
        int(value): int(count) for value, count, found in zip(values, counts, classes, strict=True) if not reading.is_known(found)
    }:
        raise UnreadableImageError(f"{name}: has {unknown_labels(unknown, reading)}")
    return translate(labels, values, np.array([IGNORE if found is None else found for found in classes], np.uint8))


def unknown_labels(unknown: Mapping[int, int], reading: MaskReading) -> str:
    """Say which labels are no class: label -> how many pixels have it; of colours, say which of the palette is nearest."""
    most = sorted(unknown, key=lambda value: -unknown[value])
    named = ", ".join(f"{_label(value, reading.palette)}: {unknown[value]} pixels" for value in most[:LABELS_SHOWN])
    more = f" and {len(most) - LABELS_SHOWN} more" if len(most) > LABELS_SHOWN else ""
    if reading.kind == "colour" and most[0] >= COLOUR:
        return f"colours that data.palette lacks ({named}{more})"
    what = f"0 to {(reading.classes or IGNORE) - 1} are classes" + ("" if reading.ignore is None else f" and {reading.ignore} is ignored")
    return f"labels that are no class ({named}{more}), where {what}"


def _label(value: int, palette: Palette | None) -> str:
    if value < COLOUR:
        return str(value)
    colour = as_colour(value - COLOUR)
    if not palette:
        return str(colour)
    near = min(range(len(palette)), key=lambda index: sum((a - b) ** 2 for a, b in zip(palette[index], colour, strict=True)))
    return f"{colour} (nearest is {palette[near]}, number {near})"


def as_colour(code: int) -> Colour:
    """Return (red, green, blue) of red x 65536 + green x 256 + blue."""
    return code >> 16, code >> 8 & 255, code & 255


def distinct(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that occur, sorted, and how many pixels have each: (K,) integers both."""
    if labels.dtype.itemsize > 2:
        return np.unique(labels, return_counts=True)
    counts = np.bincount(labels.ravel())  # needs no sorting
    values = np.flatnonzero(counts)
    return values, counts[values]


def translate(labels: np.ndarray, values: np.ndarray, becomes: np.ndarray) -> np.ndarray:
    """Return labels of which each of the sorted `values` became what stands in its place: the shape of `labels`, the type of `becomes`."""
    if labels.dtype.itemsize > 2:
        return becomes[np.searchsorted(values, labels)]
    table = np.zeros(np.iinfo(labels.dtype).max + 1, becomes.dtype)
    table[values] = becomes
    return table[labels]


def read_raw_mask(path: str | os.PathLike[str], reading: MaskReading) -> np.ndarray:
    """Read what a mask file says, before labels become classes: (H, W) uint8, uint16 or int32.

    Raises:
        UnreadableImageError: if it cannot be read, is lossy, or says nothing of the kind; the message names the file and the reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF data and palettes; the pixels are right
            with open_regular(path) as file, open_image(file, reading.max_pixels) as image:
                if image.format in LOSSY or (image.format == "WEBP" and _is_lossy_webp(file)):
                    raise ValueError(f"is a lossy {image.format} file, which changes labels; masks must be PNG, TIFF or lossless WebP")
                image.load()
                turn = TURNS.get(orientation(image))
                return KINDS_OF_MASK[reading.kind](image if turn is None else image.transpose(turn), reading)
    except Exception as error:  # what a damaged file raises depends on its format
        reason = getattr(error, "strerror", None) or reason_of(error)  # a system error's text repeats the path
        raise UnreadableImageError(f"{printable(os.fspath(path), None)}: {printable(reason)}") from error


def _indices(image: Image.Image, reading: MaskReading) -> np.ndarray:
    values = _values(image)
    if values.ndim == 2:
        return values
    if (values != values[:, :, :1]).any():
        raise ValueError(f"has colours (mode {image.mode}) where labels are expected; data.masks colour with data.palette reads them")
    return np.ascontiguousarray(values[:, :, 0])


def _colours(image: Image.Image, reading: MaskReading) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"has no colours but values deeper than 8 bits (mode {image.mode}); data.masks index reads them")
    pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    codes = pixels[:, :, 0] << 16 | pixels[:, :, 1] << 8 | pixels[:, :, 2]
    values, _ = distinct(codes)
    places = _places(reading.palette or ())
    labels = np.array([places.get(code, COLOUR + code) for code in values.tolist()], np.int32)
    small = labels.astype(np.uint8) if labels.max(initial=0) <= IGNORE else labels
    return translate(codes, values, small)


@lru_cache(maxsize=8)
def _places(palette: Palette) -> dict[int, int]:
    return {red << 16 | green << 8 | blue: place for place, (red, green, blue) in enumerate(palette)}


def _objects(image: Image.Image, reading: MaskReading) -> np.ndarray:
    values = _values(image)
    one = values if values.ndim == 2 else values.max(axis=2)
    objects = (one != 0).astype(np.uint16)
    if reading.ignore is not None:
        objects[one == reading.ignore] = reading.ignore
    return objects


def _values(image: Image.Image) -> np.ndarray:
    """Return the values of an image without its alpha: (H, W) or (H, W, 3), uint8, uint16 or int32."""
    values = np.asarray(image)
    if values.dtype.kind == "f" and not ((values == np.floor(values)) & (np.abs(values) < COLOUR)).all():
        raise ValueError(f"has values that are no whole numbers (mode {image.mode}) where labels are expected")
    if values.dtype.kind in "if" and values.min(initial=0) < 0:
        raise ValueError(f"has negative values (mode {image.mode}) where labels are expected")
    if values.ndim == 3:
        values = values[:, :, 0] if values.shape[2] == 2 else values[:, :, :3]
    if values.dtype.kind == "b" or values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return values.astype(np.uint16 if values.max(initial=0) < 2**16 else np.int32)


KINDS_OF_MASK: dict[str, Callable[[Image.Image, MaskReading], np.ndarray]] = {"index": _indices, "colour": _colours, "instances": _objects}


def _is_lossy_webp(file: BinaryIO) -> bool:
    """Return whether the first picture of a WebP file is a lossy one: its chunk is "VP8 ", not "VP8L" (RFC 9649)."""
    place = file.tell()
    try:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            kind, length = head[:4], int.from_bytes(head[4:], "little")
            if kind in (b"VP8 ", b"VP8L"):
                return kind == b"VP8 "
            inner = 16 if kind == b"ANMF" else length + length % 2  # a frame's chunks stand behind 16 bytes of its own
            file.seek(inner, os.SEEK_CUR)
        return False
    finally:
        file.seek(place)


def mask_reading(recipe: DataRecipe, kind: MaskKind) -> MaskReading:
    """Return the manner of reading that a recipe says for masks of a kind; what is ignored is open
    (None) where neither `data.ignore_index` nor a label map says so.

    Raises:
        UsageError: for a palette, names or a map that cannot be.
    """
    check_mask_fields(recipe)
    if kind == "colour" and not recipe.palette:
        raise UsageError("masks are colours, and data.palette does not say of which classes; give the colour of each, [[0, 0, 0], ...]")
    if kind == "instances" and recipe.ignore_index is not None and recipe.ignore_index < 2:
        raise UsageError(
            f"data.ignore_index {recipe.ignore_index} is background or the first object of instance maps; it must be 2 or more"
        )
    ignore = IGNORE if recipe.ignore_index is None and recipe.label_map is not None and kind == "index" else recipe.ignore_index
    return MaskReading(kind, recipe.palette, recipe.label_map, ignore, None, recipe.max_pixels)


def check_mask_fields(recipe: DataRecipe) -> None:
    """Raise UsageError for a palette, names or a label map that cannot be."""
    if recipe.classes is not None:
        if not 1 <= len(recipe.classes) <= IGNORE:
            raise UsageError(f"data.classes must be 1 to {IGNORE} names, got {len(recipe.classes)}")
        if twice := [name for name in dict.fromkeys(recipe.classes) if recipe.classes.count(name) > 1]:
            raise UsageError(f"data.classes must be different names, and {printable(twice[0])!r} is there twice")
    if recipe.palette is not None:
        if not 1 <= len(recipe.palette) <= IGNORE + 1:
            raise UsageError(f"data.palette must be 1 to {IGNORE + 1} colours, got {len(recipe.palette)}")
        if wrong := [colour for colour in recipe.palette if not all(0 <= part <= 255 for part in colour)]:
            raise UsageError(f"data.palette holds colours, three numbers from 0 to 255 each, and {list(wrong[0])} is none")
        if len(_places(recipe.palette)) < len(recipe.palette):
            twice = next(colour for colour in recipe.palette if recipe.palette.count(colour) > 1)
            raise UsageError(f"data.palette must be different colours, and {list(twice)} is there twice")
    for label, found in (recipe.label_map or {}).items():
        if label != "others" and not 0 <= label < 2**16:
            raise UsageError(f"data.label_map maps labels from 0 to 65535, and 'others', got {label}")
        if found is not None and not 0 <= found < len(recipe.classes or range(IGNORE)):
            raise UsageError(f"data.label_map maps to classes from 0 to {len(recipe.classes or range(IGNORE)) - 1} or null, got {found}")
