"""COCO's objects and areas as masks of classes: `data.name: coco_semantic`.

Where annotations overlap, the smaller one is on top: areas (stuff) are drawn first, then regions of many objects (iscrowd), then objects,
the larger before the smaller, equal ones in the order of the file. Pixels of no annotation are the first class, "background".
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from senet.data.coco.blobs import Entries
from senet.data.coco.files import Listing
from senet.data.coco.opening import open_coco
from senet.data.coco.shapes import shape_mask
from senet.data.image_tree import few
from senet.data.mask_scan import file_states
from senet.data.source import DataSource, UnreadableImageError
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.text import printable

SEMANTIC_FILES = ("instances", "stuff")
"""What files begin with; where both are there, their annotations are drawn together."""


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the images of instances_train2017.json and stuff_train2017.json, or of files of the same form.

    Raises:
        UsageError: as `open_coco` does.
    """
    return open_coco(recipe, SEMANTIC_FILES, _masks, background=True)


class DrawnMasks:
    """Masks that are drawn of annotations.

    Args:
        names: of the N images.
        sizes: (N, 2) width and height.
        annotations: of each image, in the order of drawing but for size: [label, layer, segmentation] each.
        unsaid: label of the pixels of no annotation.
        max_pixels: largest width x height.
        state: what changes when a file of the annotations does.
    """

    def __init__(self, names: Sequence[str], sizes: np.ndarray, annotations: Entries, unsaid: int, max_pixels: int, state: str) -> None:
        self.names, self.sizes, self.annotations = np.array(names), sizes, annotations
        self.unsaid, self.max_pixels, self._state = unsaid, max_pixels, state

    def __len__(self) -> int:
        return len(self.names)

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of image `index`, (H, W) uint16.

        Raises:
            UnreadableImageError: for an annotation that cannot be drawn, or a larger image.
        """
        width, height = self.sizes[index].tolist()
        try:
            if width * height > self.max_pixels:
                raise ValueError(f"{width} x {height} pixels, more than data.max_pixels {self.max_pixels}")
            drawn = [(layer, shape_mask(shape, height, width), label) for label, layer, shape in self.annotations[index]]
        except ValueError as error:
            raise UnreadableImageError(f"{self.describe(index)}: has {error}") from error
        labels = np.full((height, width), self.unsaid, np.uint16)
        for _, pixels, label in sorted(drawn, key=lambda part: (part[0], -int(part[1].sum()))):
            labels[pixels] = label
        return labels

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height that the file says."""
        width, height = self.sizes[index].tolist()
        return width, height

    def describe(self, index: int) -> str:
        """Return the name of the image as it can be printed."""
        return f"annotations of {printable(self.names[index], None)}"

    def state(self) -> str:
        """Return what changes when a file of the annotations does."""
        return self._state


def _masks(files: Sequence[Listing], chosen: np.ndarray, unsaid: int, max_pixels: int) -> DrawnMasks:
    images = [files[0].images[place] for place in chosen.tolist()]
    places = {image["file_name"]: place for place, image in enumerate(images)}
    annotations: list[list[list[Any]]] = [[] for _ in images]
    for listing in files:
        known = {image["id"] for image in listing.images}
        here = {image["id"]: places[image["file_name"]] for image in listing.images if image["file_name"] in places}
        things = {category.id: category.is_thing and not listing.path.stem.startswith("stuff") for category in listing.categories}
        stray = []
        for entry in listing.annotations:
            image, category = entry.get("image_id"), entry.get("category_id")
            if type(image) is not int or image not in known or type(category) is not int or category not in things:
                stray.append(f"annotation {entry.get('id')} (image {image}, category {category})")
            elif image in here:
                layer = 0 if not things[category] else 1 if entry.get("iscrowd") else 2
                annotations[here[image]].append([category, layer, entry.get("segmentation")])
        if stray:
            raise UsageError(f"{listing.path}: {len(stray)} annotations are of no image or category that the file lists: {few(stray)}")
    states = "".join(file_states(listing.path.parent, np.array([os.fsencode(listing.path.name)])) for listing in files)
    state = states + repr(chosen.tolist())
    sizes = np.array([(image["width"], image["height"]) for image in images], np.int64)
    return DrawnMasks(list(places), sizes, Entries(annotations), unsaid, max_pixels, state)
