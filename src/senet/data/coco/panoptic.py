"""COCO's panoptic format as masks of classes: `data.name: coco_panoptic`.

A PNG file beside the JSON gives each pixel the number of its segment, red + 256 green + 65536 blue, and the JSON the category of each
segment; 0 is no segment, and such pixels are ignored.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from senet.data.coco.blobs import Entries
from senet.data.coco.files import Listing
from senet.data.coco.opening import open_coco
from senet.data.image_file import open_image, open_regular
from senet.data.image_tree import few
from senet.data.mask_scan import file_states, header_size
from senet.data.masks import distinct, translate
from senet.data.source import DataSource, UnreadableImageError
from senet.errors import UsageError, reason_of
from senet.file_kind import file_kind
from senet.recipe import DataRecipe
from senet.schema import brief
from senet.text import printable


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the images of panoptic_train2017.json, or of a file of the same form; the PNG files lie in a folder of its name.

    Raises:
        UsageError: as `open_coco` does.
    """
    return open_coco(recipe, ("panoptic",), _masks, background=False)


class SegmentMasks:
    """Masks in files that give each pixel the number of its segment.

    Args:
        folder: the folder of the files.
        names: (N,) their names.
        categories: of each file, the number of a segment (as text) -> its category.
        unsaid: label of the pixels of no segment.
        max_pixels: largest width x height.
        state: what changes when the JSON file does.
    """

    def __init__(self, folder: Path, names: Sequence[str], categories: Entries, unsaid: int, max_pixels: int, state: str) -> None:
        self.folder, self.names, self.categories = folder, np.array(names), categories
        self.unsaid, self.max_pixels, self._state = unsaid, max_pixels, state

    def __len__(self) -> int:
        return len(self.names)

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of mask `index`, (H, W) uint16.

        Raises:
            UnreadableImageError: if it cannot be read, or holds segments that the JSON file does not list.
        """
        segments = self._segments(index)
        categories = {0: self.unsaid, **{int(number): category for number, category in self.categories[index].items()}}
        numbers, counts = distinct(segments)
        if unknown := [number for number in numbers.tolist() if number not in categories]:
            pixels = int(counts[np.isin(numbers, unknown)].sum())
            raise UnreadableImageError(
                f"{self.describe(index)}: has {pixels} pixels of segments that the JSON file does not list: {few(list(map(str, unknown)))}"
            )
        return translate(segments, numbers, np.array([categories[number] for number in numbers.tolist()], np.uint16))

    def _segments(self, index: int) -> np.ndarray:
        """Return the number of each pixel's segment, (H, W) int32."""
        try:
            with open_regular(self.folder / str(self.names[index])) as file, open_image(file, self.max_pixels) as image:
                if image.format != "PNG" or image.mode not in ("RGB", "RGBA"):
                    raise ValueError(f"is no PNG file of colours but {image.format} of mode {image.mode}")
                pixels = np.asarray(image).astype(np.int32)
        except Exception as error:  # what a damaged file raises depends on where it is
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise UnreadableImageError(f"{self.describe(index)}: {printable(reason)}") from error
        return pixels[:, :, 0] | pixels[:, :, 1] << 8 | pixels[:, :, 2] << 16

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height of mask `index` by its header; zeros if it cannot be read."""
        return header_size(self.folder / str(self.names[index]), self.max_pixels)

    def describe(self, index: int) -> str:
        """Return the folder and name of the file, as they can be printed."""
        return printable(f"{self.folder.name}/{self.names[index]}", None)

    def state(self) -> str:
        """Return what changes when a file does."""
        return self._state + file_states(self.folder, np.array([os.fsencode(str(name)) for name in self.names]))


def _masks(files: Sequence[Listing], chosen: np.ndarray, unsaid: int, max_pixels: int) -> SegmentMasks:
    (listing,) = files
    known = {category.id for category in listing.categories}
    by_image = {entry["image_id"]: entry for entry in listing.annotations if type(entry.get("image_id")) is int}
    images = [listing.images[place] for place in chosen.tolist()]
    if alone := [image["file_name"] for image in images if image["id"] not in by_image]:
        raise UsageError(f"{listing.path}: {len(alone)} of {len(images)} images have no annotation: {few(alone)}")
    names, segments = [], []
    for image in images:
        entry = by_image[image["id"]]
        name, parts = entry.get("file_name"), entry.get("segments_info")
        if not isinstance(name, str) or PurePath(name).name != name or "\0" in name:
            raise UsageError(f"{listing.path}: the mask of {printable(image['file_name'])} is no name of a file: {printable(name)}")
        pairs = [(part.get("id"), part.get("category_id")) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if wrong := [pair for pair in pairs if not (type(pair[0]) is type(pair[1]) is int and pair[1] in known)]:
            number, category = map(brief, wrong[0])
            raise UsageError(
                f"{listing.path}: a segment of {printable(name)} has number {number} and category {category}, which is not listed"
            )
        names.append(name)
        segments.append(dict(pairs))
    folder = listing.path.with_suffix("")
    if not folder.is_dir():
        raise UsageError(f"{listing.path}: the folder {folder.name} of its PNG files is not beside it")
    if missing := [name for name in names if file_kind(folder / name) != "file"]:
        raise UsageError(f"{folder}: {len(missing)} of {len(names)} masks that {listing.path.name} lists are missing: {few(missing)}")
    state = file_states(listing.path.parent, np.array([os.fsencode(listing.path.name)]))
    return SegmentMasks(folder, names, Entries(segments), unsaid, max_pixels, state)
