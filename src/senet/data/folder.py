"""Images in class folders, laid out as ImageNet is: root/train/CLASS/image.jpg and root/val/CLASS/image.jpg."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.image_file import SUFFIXES, ImageReading, read_image
from senet.data.image_tree import LeftOut, image_files, sub_folders
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.text import printable
from senet.weights.releases.library import IMAGENET


class ImageFiles:
    """Images in files.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the files; one block of memory, which worker processes share, where a list of str would be copied to each.
        targets: (N,) int64, the classes; or a sequence of what else is to be predicted.
        reading: how they are read.
    """

    in_memory = False

    def __init__(self, root: Path, paths: np.ndarray, targets: Any, reading: ImageReading = ImageReading()) -> None:  # noqa: B008 - frozen
        self.root = root
        self.reading = reading
        self.paths = paths
        self.targets = targets

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Image.Image:
        """Return image `index` as RGB, or raise UnreadableImageError."""
        return read_image(self.path(index), self.reading)

    def path(self, index: int) -> Path:
        """Return the file of image `index`."""
        return self.root / os.fsdecode(self.paths[index])

    def describe(self, index: int) -> str:
        """Return the path below the root, as it can be printed."""
        return printable(os.fsdecode(self.paths[index]), None)


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the class folders in the recipe's root.

    Raises:
        UsageError: for a missing folder or one that cannot be read, a class without images or whose name is not UTF-8, or classes that
            differ between train and val.
    """
    if recipe.root is None:
        raise UsageError("folder needs --data.root DIR, with DIR/train/CLASS/image.jpg and DIR/val/CLASS/image.jpg")
    root = user_path(recipe.root)
    if not root.is_dir():
        raise UsageError(f"data.root {recipe.root!r} is not a folder; it must hold train/CLASS/image.jpg and val/CLASS/image.jpg")
    classes, val_classes = _class_names(root, "train"), _class_names(root, "val")
    if classes != val_classes:
        differences = [f"only in {split}: {_few(names)}" for split, names in _only_in(classes, val_classes) if names]
        raise UsageError(f"{root}: train and val must have the same class folders; {'; '.join(differences)}")
    left_out, reading = LeftOut(), ImageReading.of(recipe)
    return DataSource(
        name="folder",
        train=_split(root, "train", classes, reading, left_out),
        val=_split(root, "val", classes, reading, left_out),
        classes=classes,
        input=class_input(recipe),
        notes=tuple(f"{root}: {note}" for note in left_out.notes()),
    )


def class_input(recipe: DataRecipe) -> InputSpec:
    """Return the input of photographs that have a class each: that of ImageNet, unless the recipe says otherwise."""
    return input_spec(recipe, size=224, mean=IMAGENET.mean, std=IMAGENET.std, resize_share=256 / 224)


def _split(root: Path, split: str, classes: tuple[str, ...], reading: ImageReading, left_out: LeftOut) -> ImageFiles:
    paths: list[bytes] = []
    counts = []
    places = [root / split / name for name in classes]
    start = len(os.path.join(root, ""))  # noqa: PTH118 - what stands before each path
    for place in places:
        found = [os.fsencode(path[start:]) for path in image_files(place, left_out, known=(root, root / split, *places))]
        if not found:
            raise UsageError(f"class folder {place} has no images; add some ({', '.join(sorted(SUFFIXES))}) or remove the class")
        paths += found
        counts.append(len(found))
    return ImageFiles(root, np.array(paths), np.repeat(np.arange(len(classes), dtype=np.int64), counts), reading)


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    folder = root / split
    if not folder.is_dir():
        there = [entry.name for entry in sorted(root.iterdir()) if entry.is_dir()]
        raise UsageError(f"{root} has no folder {split!r}; it has: {_few(there) or 'no folders'}")
    names = tuple(sub_folders(folder))
    if not names:
        raise UsageError(f"{folder} has no class folders; images must be in {folder}/CLASS/image.jpg")
    if foreign := next((name for name in names if not _is_utf8(name)), None):
        raise UsageError(f"{folder}: the name of class folder {printable(foreign)} is not UTF-8 and cannot be written to a file; rename it")
    return names


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _only_in(train: tuple[str, ...], val: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    return [("train", sorted(set(train) - set(val))), ("val", sorted(set(val) - set(train)))]


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
