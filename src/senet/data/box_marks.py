"""What files of annotations say of boxes, of whatever format, before it is held against the images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any, NamedTuple

import numpy as np

from senet.data.folder import ImageFiles

NOWHERE = (nan, nan, nan, nan)
"""Box of an object of which a file says no four numbers."""

UNLISTED = -1
"""Label of an object whose category nothing lists."""


class Mark(NamedTuple):
    """One object as a file says it.

    Args:
        image: place of its image.
        xyxy: left, top, right, bottom.
        label: its category, by its place.
        crowd: whether it is a region of many objects.
        area: its pixels; nan = unsaid.
        shape: its outline, COCO's `segmentation`; None = unsaid.
    """

    image: int
    xyxy: tuple[float, float, float, float]
    label: int
    crowd: bool = False
    area: float = nan
    shape: Any = None


@dataclass(frozen=True)
class Marks:
    """Objects of the images of a set, in the order of the files.

    Args:
        image: (m,) int64, places of their images.
        xyxy: (m, 4) float64, nan where a file says no number.
        labels: (m,) int64.
        crowd: (m,) bool.
        area: (m,) float64, nan where nothing says it.
        shapes: their m outlines; None = of none.
    """

    image: np.ndarray
    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    shapes: list[Any] | None

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> "Marks":
        """Return objects as arrays."""
        columns = list(zip(*marks, strict=True)) or [()] * len(Mark._fields)
        image, labels = np.array(columns[0], np.int64), np.array(columns[2], np.int64)
        shapes = list(columns[5]) if any(shape is not None for shape in columns[5]) else None
        xyxy = np.array(columns[1], np.float64).reshape(-1, 4)
        return cls(image, xyxy, labels, np.array(columns[3], bool), np.array(columns[4], np.float64), shapes)

    def __len__(self) -> int:
        return len(self.image)

    def chosen(self, which: np.ndarray) -> "Marks":
        """Return some of the objects; `which` is (m,) bool, or places in the order that is wanted."""
        places = np.flatnonzero(which) if which.dtype == bool else which
        shapes = None if self.shapes is None else [self.shapes[place] for place in places.tolist()]
        return Marks(self.image[places], self.xyxy[places], self.labels[places], self.crowd[places], self.area[places], shapes)

    def of_images(self, kept: np.ndarray) -> "Marks":
        """Return the objects of some images, (k,) places in rising order, whose places are counted anew."""
        found = np.searchsorted(kept, self.image)
        inside = (found < len(kept)) & (kept[np.minimum(found, len(kept) - 1)] == self.image) if len(kept) else np.zeros(len(self), bool)
        return replace(self.chosen(inside), image=found[inside])


@dataclass(frozen=True)
class Annotated:
    """Images of a split, with what files say of them.

    Args:
        images: the N images, all of them there; their targets are not used.
        ids: (N,) int64, their numbers.
        sizes: (N, 2) int64, width and height that a file says; zeros = unsaid.
        marks: their objects.
        relative: whether boxes and outlines are in shares of the image's sides, not in pixels.
        notes: what was found wrong, one line each.
    """

    images: ImageFiles
    ids: np.ndarray
    sizes: np.ndarray
    marks: Marks
    relative: bool = False
    notes: tuple[str, ...] = ()

    def chosen(self, kept: np.ndarray) -> "Annotated":
        """Return some of the images, (k,) places in rising order."""
        images = ImageFiles(self.images.root, self.images.paths[kept], None, self.images.reading)
        return replace(self, images=images, ids=self.ids[kept], sizes=self.sizes[kept], marks=self.marks.of_images(kept))


@dataclass(frozen=True)
class FoundBoxes:
    """Contents of a folder of images with boxes.

    Args:
        splits: "train" and, where the files say it, "val".
        classes: names of the labels.
        notes: where it was found, one line each.
    """

    splits: dict[str, Annotated]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
