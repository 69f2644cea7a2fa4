"""Places365 (Zhou et al., 2017) as published: lists of images and labels beside the folders of the archives.

The root holds categories_places365.txt, places365_val.txt, places365_train_challenge.txt (8 million images, those of the SENet paper) or
places365_train_standard.txt (1.8 million), and the folders of the photographs. These have the names of `FOLDERS`: torchvision's, those of
the archives, or what the archives hold.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from senet.data.folder import ImageFiles, class_input
from senet.data.image_file import ImageReading
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.schema import LONGEST_SHOWN, brief
from senet.text import printable

CATEGORIES = "categories_places365.txt"
LISTS = {
    "challenge": "places365_train_challenge.txt",
    "standard": "places365_train_standard.txt",
    "val": "places365_val.txt",
}
"""Images -> the file that lists them, one line an image: its path and the number of its class."""

SIZES = ("256", "large")
"""The published sizes: 256 x 256 pixels, which win where both are there, or a shorter side of 512."""

FOLDERS = {
    **{
        part: [form.format(size=size, part=part) for form in ("data_{size}_{part}", "train_{size}_places365{part}") for size in SIZES]
        + [f"data_{size}" for size in SIZES]
        for part in ("challenge", "standard")
    },
    "val": [f"val_{size}" for size in SIZES],
}
"""Images -> the folders that may hold them, best first."""


def open_source(recipe: DataRecipe) -> DataSource:
    """Open Places365 in the recipe's root: the challenge's training images if they are there, else the standard ones.

    Raises:
        UsageError: for a missing file or folder, a line that is not one of its list, a class out of range or without training images, or
            a folder that does not hold the images of its list.
    """
    if recipe.root is None:
        raise UsageError(f"places365 needs --data.root DIR with {CATEGORIES}, {LISTS['val']}, {LISTS['challenge']} and their images")
    root = user_path(recipe.root)
    classes = read_categories(root / CATEGORIES)
    listing, folder = _train_images(root)
    reading = ImageReading.of(recipe)
    train = _listed_images(listing, folder, len(classes), reading)
    if missing := sorted(set(range(len(classes))) - set(np.unique(train.targets).tolist())):
        raise UsageError(f"{listing} has no images of class {missing[0]} ({classes[missing[0]]}); it is cut short, fetch it again")
    return DataSource(
        name="places365",
        train=train,
        val=_listed_images(root / LISTS["val"], _folder(root, "val"), len(classes), reading),
        classes=classes,
        input=class_input(recipe),
    )


def read_categories(path: Path) -> tuple[str, ...]:
    """Return the class names in the order of their numbers: "/a/airport_terminal 2" is "airport_terminal" at place 2.

    Raises:
        UsageError: if the file is missing, a line is not one of it, or the numbers are not 0, 1, 2, ... once each.
    """
    _check_file(path)
    names: dict[int, str] = {}
    with path.open("rb") as file:
        for number, (name, index) in enumerate(_pairs(path, file, "a class and its number, such as '/a/airfield 0'"), start=1):
            if index in names:
                raise UsageError(f"{path}, line {number}: class {brief(index)} is there twice")
            names[index] = name.decode(errors="replace").split("/", 2)[-1]  # "/a/airfield": the letter is only where it is filed
    if not names or sorted(names) != list(range(len(names))):
        raise UsageError(
            f"{path} must number its classes from 0 on without a gap, got {len(names)} classes up to {brief(max(names, default=None))}"
        )
    return tuple(names[index] for index in range(len(names)))


def _train_images(root: Path) -> tuple[Path, Path]:
    """Return the list of the training images and their folder; a folder that names its part wins over one that does not."""
    pairs = [(root / LISTS[part], root / name, part in name) for part in ("challenge", "standard") for name in FOLDERS[part]]
    there = [pair for pair in pairs if pair[0].is_file() and pair[1].is_dir()]
    if there:
        listing, folder, _ = min(there, key=lambda pair: not pair[2])
        return listing, folder
    parts = [part for part in ("challenge", "standard") if (root / LISTS[part]).is_file()]
    if not parts:
        raise UsageError(f"{root} has neither {LISTS['challenge']} nor {LISTS['standard']}; one of them must list the training images")
    return root / LISTS[parts[0]], _folder(root, parts[0])


def _folder(root: Path, part: str) -> Path:
    for name in FOLDERS[part]:
        if (root / name).is_dir():
            return root / name
    raise UsageError(f"{root} has no folder with the images of {LISTS[part]}; it must be one of: {', '.join(FOLDERS[part])}")


def _listed_images(listing: Path, folder: Path, classes: int, reading: ImageReading) -> ImageFiles:
    """Open listed images; one of each class must be there, since asking for all of them takes minutes on a network drive."""
    _check_file(listing)
    with listing.open("rb") as file:
        width = max(map(len, file), default=1)
    with listing.open("rb") as file:
        lines = _in_range(listing, _pairs(listing, file, "an image and its class, such as '/a/airfield/00000001.jpg 0'"), classes)
        entries = np.fromiter(lines, dtype=[("path", f"S{width}"), ("label", np.int64)])  # one block: worker processes share it
    if not len(entries):
        raise UsageError(f"{listing} lists no images")
    images = ImageFiles(folder, entries["path"], np.ascontiguousarray(entries["label"]), reading)
    for first in np.unique(images.targets, return_index=True)[1]:
        if not images.path(int(first)).is_file():
            raise UsageError(
                f"{folder} lacks {images.describe(int(first))}, which {listing.name} lists; are these the images of that list?"
            )
    return images


def _pairs(path: Path, lines: Iterable[bytes], expected: str) -> Iterator[tuple[bytes, int]]:
    for number, line in enumerate(lines, start=1):
        try:
            name, index = line.split()
            pair = name, int(index)
        except ValueError:
            got = printable(repr(line[:LONGEST_SHOWN].decode(errors="replace").strip()))
            raise UsageError(f"{path}, line {number}: expected {expected}, got {got}") from None
        yield pair


def _in_range(path: Path, pairs: Iterable[tuple[bytes, int]], classes: int) -> Iterator[tuple[bytes, int]]:
    for number, (name, index) in enumerate(pairs, start=1):
        if not 0 <= index < classes:
            raise UsageError(f"{path}, line {number}: class {brief(index)} is not one of {CATEGORIES}, which has 0 to {classes - 1}")
        yield name.lstrip(b"/"), index


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path} is missing; it comes with the file lists of Places365")
