"""Objects of an image as boxes, and their outlines where they are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from senet.data.coco.shapes import mask_shape, shape_mask

ARRAY_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}
"""EXIF orientation that exchanges width and height -> what puts an array of pixels upright."""

MIRRORED = {5: (False, False), 6: (True, False), 7: (True, True), 8: (False, True)}
"""Such an orientation -> whether x and y of the upright image run against y and x of the stored one."""


@dataclass(frozen=True)
class Outlines:
    """Outlines of objects, kept as what a file says of them until their pixels are needed.

    Args:
        shapes: of each object COCO's `segmentation`, polygons or run lengths, in the pixels of an image.
        orientation: EXIF orientation by which they are turned once they are drawn; 1 = they are upright.
    """

    shapes: tuple[Any, ...]
    orientation: int = 1

    def __len__(self) -> int:
        return len(self.shapes)

    def chosen(self, places: Sequence[int]) -> "Outlines":
        """Return those at these places, in this order."""
        return Outlines(tuple(self.shapes[place] for place in places), self.orientation)

    def pixels(self, height: int, width: int) -> np.ndarray:
        """Return the pixels of each object in the upright image: (n, height, width) bool.

        Raises:
            ValueError: if an outline is none, or is of another size.
        """
        drawn = [self._drawn(shape, height, width) for shape in self.shapes]
        return np.stack(drawn) if drawn else np.zeros((0, height, width), bool)

    def runs(self, height: int, width: int) -> tuple[dict[str, Any], ...]:
        """Return the run lengths of each object in the upright image, COCO's `segmentation`; the pixels of one at a time are in memory.

        Raises:
            ValueError: as `pixels` does.
        """
        return tuple(mask_shape(self._drawn(shape, height, width)) for shape in self.shapes)

    def _drawn(self, shape: Any, height: int, width: int) -> np.ndarray:
        turn = ARRAY_TURNS.get(self.orientation)
        return shape_mask(shape, height, width) if turn is None else turn(shape_mask(shape, width, height))


@dataclass(frozen=True)
class Boxes:
    """Objects of one image.

    A region of many objects (crowd) is no object: it is not learnt, and evaluation neither asks for it nor counts what is found there.

    Args:
        xyxy: (n, 4) float32, left, top, right and bottom in pixels of the image, x from its left and y from its upper edge.
        labels: (n,) int64, classes from 0.
        crowd: (n,) bool, regions of many objects.
        area: (n,) float32, pixels of each object, by which evaluation tells sizes: of its outline if the file says so, else of its box.
        image_id: number of the image, by which results name it.
        size: height and width of the image in pixels, upright.
        masks: outlines of the objects; None = nothing says them.

    Raises:
        ValueError: if the lengths differ.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    image_id: int
    size: tuple[int, int]
    masks: Outlines | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        shapes = {"xyxy": (count, 4), "labels": (count,), "crowd": (count,), "area": (count,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of {count} boxes must be of shape {shape}, got {getattr(self, name).shape}")
        if self.masks is not None and len(self.masks) != count:
            raise ValueError(f"{len(self.masks)} outlines of {count} boxes")

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, which: np.ndarray) -> "Boxes":
        """Return some of the boxes.

        Args:
            which: (n,) bool, or (k,) int their places in the order that is wanted.
        """
        places = np.flatnonzero(which) if which.dtype == bool else which
        masks = None if self.masks is None else self.masks.chosen(places.tolist())
        return Boxes(self.xyxy[places], self.labels[places], self.crowd[places], self.area[places], self.image_id, self.size, masks)

    @property
    def objects(self) -> "Boxes":
        """What is learnt: all but crowd."""
        return self.chosen(~self.crowd)


def clipped(xyxy: np.ndarray, size: tuple[int, int] | np.ndarray) -> np.ndarray:
    """Return boxes cut at the edges of their image: (n, 4), those outside with a side of 0.

    Args:
        xyxy: (n, 4) in pixels.
        size: height and width of the image, or (n, 2) of each box's.
    """
    return np.clip(xyxy, 0, np.tile(np.asarray(size, xyxy.dtype)[..., ::-1], 2))


def box_areas(xyxy: np.ndarray) -> np.ndarray:
    """Return width x height of boxes: (n,), 0 where right is not beyond left or bottom not below top."""
    return np.prod(np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0), axis=1)


def turned_boxes(xyxy: np.ndarray, size: tuple[int, int], orientation: int) -> np.ndarray:
    """Return boxes of an image as it is stored in the upright image.

    Args:
        xyxy: (n, 4) in pixels of the stored image.
        size: height and width of the upright image.
        orientation: EXIF orientation, one that exchanges width and height.
    """
    height, width = size
    flip_x, flip_y = MIRRORED[orientation]
    left, top, right, bottom = xyxy.T
    x = (width - bottom, width - top) if flip_x else (top, bottom)
    y = (height - right, height - left) if flip_y else (left, right)
    return np.stack([x[0], y[0], x[1], y[1]], axis=1)
