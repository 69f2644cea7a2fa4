"""Boxes in shards: COCO's annotations of each image in a JSON file beside it, and all boxes in the index."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

import numpy as np

from senet.data.box_files import BoxedImages, BoxTable
from senet.data.box_source import box_input
from senet.data.coco.blobs import Entries
from senet.data.coco.written import annotations
from senet.data.image_file import ImageReading
from senet.data.kept import Arrays
from senet.jsontext import json_text
from senet.recipe import DataRecipe
from senet.spec import InputSpec

TABLE_KINDS = {"starts": "i", "xyxy": "f", "labels": "i", "crowd": "b", "area": "f", "ids": "i", "sizes": "i", "turns": "i"}
"""Array of a `BoxTable` -> the kind of its type."""

OUTLINES = {"outlines": "u", "outline_ends": "i"}
"""Arrays of the outlines' text, and where that of each image ends; where there are no outlines both are empty."""

BOX_PREFIX = "box_"
"""Before the names of such arrays, which others of the index have, too."""

BYTES_A_BOX = 150
"""Bytes of an annotation without its outline."""


class BoxForm:
    """Form of boxes, see `senet.data.shards.forms.TargetForm`."""

    suffix = ".json"
    kinds: Mapping[str, str] = {f"{BOX_PREFIX}{name}": kind for name, kind in (TABLE_KINDS | OUTLINES).items()}

    def fits(self, images: object) -> bool:
        """Return whether images have boxes."""
        return isinstance(images, BoxedImages)

    def identity(self, images: BoxedImages) -> Iterable[bytes]:
        """Yield what tells images and boxes from others."""
        yield images.fingerprint().encode()

    def about_bytes(self, images: BoxedImages) -> np.ndarray:
        """Return a guess by the number of boxes and the text of their outlines."""
        table = images.targets
        boxes = BYTES_A_BOX * np.diff(table.starts)
        return boxes if table.shapes is None else boxes + np.diff(table.shapes.ends, prepend=0)

    def file(self, images: BoxedImages, index: int) -> bytes:
        """Return COCO's annotations of the image, without their numbers; categories are numbered from 1."""
        return json_text(list(annotations(images.targets[index])), indent=None).encode()

    def arrays(self, images: BoxedImages, classes: int) -> Arrays:
        """Return the boxes."""
        table = images.targets
        shapes = Entries(()) if table.shapes is None else table.shapes
        arrays = {name: getattr(table, name) for name in TABLE_KINDS} | {"outlines": shapes.content, "outline_ends": shapes.ends}
        return {f"{BOX_PREFIX}{name}": values for name, values in arrays.items()}

    def counts(self, arrays: Arrays, classes: int) -> np.ndarray:
        """Return the objects of each class, without crowds."""
        labels, crowd = arrays[f"{BOX_PREFIX}labels"], arrays[f"{BOX_PREFIX}crowd"]
        return np.bincount(labels[~crowd], minlength=classes)

    def is_sound(self, arrays: Arrays, images: int, classes: int) -> bool:
        """Return whether shapes are right, each image has its part of the boxes and outlines, and each box a place in it and a class."""
        starts, labels, xyxy, sizes = (arrays[f"{BOX_PREFIX}{name}"] for name in ("starts", "labels", "xyxy", "sizes"))
        boxes = len(labels) if labels.ndim == 1 else -1
        shapes = {"starts": (images + 1,), "xyxy": (boxes, 4), "sizes": (images, 2)}
        shapes |= dict.fromkeys(("labels", "crowd", "area"), (boxes,)) | dict.fromkeys(("ids", "turns"), (images,))
        if any(arrays[f"{BOX_PREFIX}{name}"].shape != shape for name, shape in shapes.items()):
            return False
        if not (starts[0] == 0 and _parts(starts, boxes) and ((labels >= 0) & (labels < classes)).all()):
            return False
        counts = np.diff(starts)
        inside = (xyxy >= 0) & (xyxy <= np.tile(sizes.repeat(counts, axis=0), 2))
        ends, text = (arrays[f"{BOX_PREFIX}{name}"] for name in ("outline_ends", "outlines"))
        return bool(inside.all()) and _are_outlines(ends, text, counts)

    def targets(self, arrays: Arrays, file: Callable[[int], bytes], describe: Callable[[int], str], reading: ImageReading) -> BoxTable:
        """Return the boxes."""
        parts = {name: arrays[f"{BOX_PREFIX}{name}"] for name in (*TABLE_KINDS, *OUTLINES)}
        shapes = Entries.of_arrays(parts["outline_ends"], parts["outlines"]) if len(parts["outline_ends"]) else None
        return BoxTable(**{field.name: parts[field.name] for field in fields(BoxTable) if field.name in TABLE_KINDS}, shapes=shapes)

    def input(self, recipe: DataRecipe, arrays: Arrays) -> InputSpec:
        """Return the input of images with boxes of such sizes."""
        return box_input(recipe, arrays[f"{BOX_PREFIX}sizes"])


def _are_outlines(ends: np.ndarray, text: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether texts hold a list of so many outlines for each image, or all are empty."""
    if text.ndim != 1 or text.itemsize != 1:
        return False
    if ends.shape == (0,):
        return not len(text)
    if ends.shape != counts.shape or not _parts(ends, len(text)):
        return False
    try:
        entries = Entries.of_arrays(ends, text)
        lists = ((entries[image], count) for image, count in enumerate(counts.tolist()))
        return all(type(found) is list and len(found) == count for found, count in lists)
    except (ValueError, RecursionError):
        return False


def _parts(ends: np.ndarray, end: int) -> bool:
    """Return whether ends of parts rise to the end of the whole."""
    return bool(ends[0] >= 0 and (ends[:-1] <= ends[1:]).all() and ends[-1] == end)
