"""Boxes of COCO's instances JSON: `data.name: coco_boxes`."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from senet.data.box_checks import remark, unlisted
from senet.data.box_marks import NOWHERE, UNLISTED, Annotated, FoundBoxes, Mark, Marks
from senet.data.coco.files import FILE_OF_ANY_SIZE, Category, Listing, find_listings, image_folder, joined_categories, read_listing
from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading
from senet.data.mask_layout import SPLIT_NAMES
from senet.errors import UsageError
from senet.file_kind import file_kind
from senet.text import printable

BOX_FILES = ("instances",)
"""What the files' names begin with."""

COCO_BOX_LAYOUT = (
    "with DIR/annotations/instances_train2017.json, DIR/instances_train.json or DIR/train/_annotations.coco.json, and the images"
)

LARGEST_COORDINATE = 1e9
"""Size of a coordinate beyond which it is no number of pixels."""


def has_coco_boxes(root: Path) -> bool:
    """Return whether a folder has COCO's instances files.

    Raises:
        UsageError: if it has none.
    """
    return bool(find_listings(root, BOX_FILES))


def find_coco_boxes(root: Path, reading: ImageReading) -> FoundBoxes:
    """Return what COCO's files in a folder say of boxes.

    Raises:
        UsageError: for a missing file or folder of images, or a file that says something else.
    """
    listings = {split: box_listing(paths[0]) for split, paths in find_listings(root, BOX_FILES).items()}
    categories = joined_categories(list(listings.values()))
    numbers = [category.id for category in categories]
    places = {number: place for place, number in enumerate(numbers)}
    splits, folders = {}, {}
    for split, listing in listings.items():
        splits[split], folders[split] = _annotated(root, listing, places, reading)
    listed = [path for part in splits.values() for path in part.images.paths.tolist()]
    notes = [f"boxes by {listing.path.name}" for listing in listings.values()]
    for folder in dict.fromkeys(folders.values()):
        for path, others in _unused(root, folder, [listing.path for listing in listings.values()]).items():
            listed += others
            notes.append(f"{len(others)} images of {path.name} are not used")
        notes += unlisted(root, folder, listed)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        notes.append(f"{len(numbers)} categories are numbered {numbers[0]} to {numbers[-1]} with holes; classes are in their order, from 0")
    return FoundBoxes(splits, tuple(category.name for category in categories), tuple(notes))


def _unused(root: Path, folder: Path, used: Sequence[Path]) -> dict[Path, list[bytes]]:
    """Return file -> paths below the root of the images in a folder that it lists, for files beside those that are used."""
    found = {}
    for listing in further_listings(used):
        names = [entry["file_name"].replace("\\", "/") for entry in listing.images]
        there = [folder / name for name in names if file_kind(folder / name) == "file"]
        found[listing.path] = [os.fsencode(os.path.relpath(path, root)) for path in there]
    return {path: paths for path, paths in found.items() if paths}


def further_listings(used: Sequence[Path]) -> Iterator[Listing]:
    """Yield what other JSON files list beside those that are used, such as that of a test; what is of another form is anybody's."""
    for path in sorted(used[0].parent.glob("*.json")):
        if path not in used and path.stem.lower().startswith((*BOX_FILES, *SPLIT_NAMES["val"])):
            with suppress(UsageError):
                yield box_listing(path)


def box_listing(path: Path) -> Listing:
    """Read a file's images and annotations, and each category once.

    Raises:
        UsageError: if it says something else, or a category has two names.
    """
    listing = read_listing(path, FILE_OF_ANY_SIZE, ())
    found: dict[int, Category] = {}
    for category in listing.categories:
        if found.setdefault(category.id, category).name != category.name:
            both = f"{printable(found[category.id].name)!r} and {printable(category.name)!r}"
            raise UsageError(f"{listing.path}: category {category.id} is {both}")
    return replace(listing, categories=tuple(found.values()))


def _annotated(root: Path, listing: Listing, places: Mapping[int, int], reading: ImageReading) -> tuple[Annotated, Path]:
    """Return the images of a file that are there, with their objects, and the folder of the images."""
    folder, names = image_folder(root, listing, BOX_FILES, tried=len(listing.images))
    there = {name: file_kind(folder / name) == "file" for name in dict.fromkeys(names)}
    files_of: dict[int, set[str]] = {}
    for image, name in zip(listing.images, names, strict=True):
        files_of.setdefault(image["id"], set()).add(name)
    doubtful = {number for number, files in files_of.items() if len(files) > 1}
    kept: dict[str, dict[str, Any]] = {}  # the first entry of each file counts
    for image, name in zip(listing.images, names, strict=True):
        if there[name] and image["id"] not in doubtful:
            kept.setdefault(name, image)
    order = {name: place for place, name in enumerate(kept)}
    place_of = {number: -1 if number in doubtful else order.get(next(iter(files)), -1) for number, files in files_of.items()}
    marks, strays = _marks(listing.annotations, place_of, places)
    repeated = [name for name, count in Counter(names).items() if count > 1]
    notes = [
        *remark([name for name, found in there.items() if not found], f"images that {listing.path.name} lists are missing, left out"),
        *remark([name for number in sorted(doubtful) for name in sorted(files_of[number])], "images share their id with another, left out"),
        *remark(repeated, "images are listed more than once, and taken once"),
        *remark([f"annotation {number}" for number in strays], "annotations of no image that is listed, left out"),
        *remark(_shared_ids(listing.annotations), "annotations have the id of another; ids of annotations are not used"),
    ]
    sizes = np.array([(image.get("width") or 0, image.get("height") or 0) for image in kept.values()], np.int64).reshape(-1, 2)
    ids = np.array([image["id"] for image in kept.values()], np.int64)
    paths = np.array([os.fsencode(os.path.relpath(folder / name, root)) for name in kept])
    return Annotated(ImageFiles(root, paths, None, reading), ids, sizes, marks, notes=tuple(notes)), folder


def _marks(annotations: Sequence[dict[str, Any]], place_of: Mapping[int, int], places: Mapping[int, int]) -> tuple[Marks, list[str]]:
    """Return the objects of images that are taken (place -1 = not), and the ids of annotations of none that is listed."""
    marks, strays = [], []
    for entry in annotations:
        number, category, area = entry.get("image_id"), entry.get("category_id"), entry.get("area")
        if type(number) is not int or number not in place_of:
            strays.append(printable(entry.get("id"), 40))
        elif place_of[number] >= 0:
            label = places.get(category, UNLISTED) if type(category) is int else UNLISTED
            pixels = float(area) if _is_number(area) else nan
            marks.append(
                Mark(
                    place_of[number],
                    _corners(entry.get("bbox")),
                    label,
                    bool(entry.get("iscrowd")),
                    pixels,
                    entry.get("segmentation") or None,
                )
            )
    return Marks.of(marks), strays


def _corners(box: Any) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of [left, top, width, height]."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return NOWHERE
    left, top, width, height = map(float, box)
    return left, top, left + width, top + height


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_COORDINATE and isfinite(value)


def _shared_ids(annotations: Sequence[dict[str, Any]]) -> list[str]:
    counts = Counter(entry["id"] for entry in annotations if type(entry.get("id")) is int)
    return [f"id {number}" for number, count in counts.items() for _ in range(count - 1)]
