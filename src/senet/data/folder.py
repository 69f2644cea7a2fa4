"""Images in class folders, laid out as ImageNet is: root/train/CLASS/image.jpg and root/val/CLASS/image.jpg."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from senet.data.image_file import SUFFIXES, ImageReading, read_image
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.weights.releases.library import IMAGENET


class ImageFiles:
    """Images in files.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the files; one block of memory, which worker processes share, where a list of str would be copied to each.
        targets: (N,) int64, the classes.
        reading: how they are read.
    """

    in_memory = False

    def __init__(self, root: Path, paths: np.ndarray, targets: np.ndarray, reading: ImageReading = ImageReading()) -> None:  # noqa: B008 - frozen
        self.root = root
        self.reading = reading
        self.paths = paths
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Image.Image:
        """Return image `index` as RGB, or raise UnreadableImageError."""
        return read_image(self.root / self.describe(index), self.reading)

    def describe(self, index: int) -> str:
        """Return the path below the root."""
        return os.fsdecode(self.paths[index])


class FolderImages(ImageFiles):
    """The images of one split.

    Args:
        root: root of the data.
        split: "train" or "val".
        classes: class names, in the order of the labels.

    Raises:
        UsageError: if a class has no images.
    """

    def __init__(self, root: Path, split: str, classes: tuple[str, ...]) -> None:
        paths: list[bytes] = []
        counts = []
        for name in classes:
            found = _image_files(root / split / name)
            if not found:
                raise UsageError(
                    f"class folder {root / split / name} has no images; add some ({', '.join(sorted(SUFFIXES))}) or remove the class"
                )
            paths += [os.fsencode(file.relative_to(root)) for file in found]
            counts.append(len(found))
        super().__init__(root, np.array(paths), np.repeat(np.arange(len(classes), dtype=np.int64), counts))


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the class folders in the recipe's root.

    Raises:
        UsageError: for a missing folder, a class without images, or classes that differ between train and val.
    """
    if recipe.root is None:
        raise UsageError("folder needs --data.root DIR, with DIR/train/CLASS/image.jpg and DIR/val/CLASS/image.jpg")
    root = Path(recipe.root).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root {recipe.root!r} is not a folder; it must hold train/CLASS/image.jpg and val/CLASS/image.jpg")
    classes, val_classes = _class_names(root, "train"), _class_names(root, "val")
    if classes != val_classes:
        differences = [f"only in {split}: {_few(names)}" for split, names in _only_in(classes, val_classes) if names]
        raise UsageError(f"{root}: train and val must have the same class folders; {'; '.join(differences)}")
    return DataSource(
        name="folder",
        train=FolderImages(root, "train", classes),
        val=FolderImages(root, "val", classes),
        classes=classes,
        input=input_spec(recipe, size=224, mean=IMAGENET.mean, std=IMAGENET.std, resize_share=256 / 224),
    )


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    folder = root / split
    if not folder.is_dir():
        there = [entry.name for entry in sorted(root.iterdir()) if entry.is_dir()]
        raise UsageError(f"{root} has no folder {split!r}; it has: {_few(there) or 'no folders'}")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if not names:
        raise UsageError(f"{folder} has no class folders; images must be in {folder}/CLASS/image.jpg")
    return names


def _image_files(folder: Path) -> list[Path]:
    files = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(place, name) for name in sorted(names) if name.lower().endswith(tuple(SUFFIXES)) and not name.startswith(".")]
    return files


def _only_in(train: tuple[str, ...], val: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    return [("train", sorted(set(train) - set(val))), ("val", sorted(set(val) - set(train)))]


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
