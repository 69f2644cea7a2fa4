"""Images with a text file of boxes each, as Pascal VOC and YOLO keep them: which file is which image's, and which are for what."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from senet.data.box_checks import remark
from senet.data.box_marks import Annotated, Mark, Marks
from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading
from senet.data.image_lists import without_suffix
from senet.data.image_tree import LeftOut, files_with, image_files
from senet.data.mask_layout import SPLIT_NAMES
from senet.data.mask_scan import each_answer
from senet.errors import reason_of
from senet.text import printable

Content = TypeVar("Content")

TRAINING_LISTS = (*SPLIT_NAMES["train"], "trainval")
"""Names of lists of training images, the first that is there is taken."""

LIST_NAMES = (*TRAINING_LISTS, *SPLIT_NAMES["val"])
"""Names of lists that are read."""

UNSPLIT = "all"
"""Name of what is not split by its folders."""


@dataclass(frozen=True)
class PairedFiles:
    """Images and files of boxes by their names: path below their folder without suffix -> path below the root.

    Args:
        images: the images.
        texts: the files of boxes.
        notes: what was found wrong, one line each.
    """

    images: dict[str, str]
    texts: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents(Generic[Content]):
    """Images of a split with what their files of boxes say.

    Args:
        names: of the images, in their order.
        paths: of the images below the root.
        said: what the files say; None = the image has none.
        notes: what was found wrong, one line each.
    """

    names: list[str]
    paths: list[str]
    said: list[Content | None]
    notes: tuple[str, ...]


def paired_files(root: Path, images: str, texts: str, suffix: str) -> PairedFiles:
    """Return the images in and below a folder and the files of boxes in and below another, by their names.

    Args:
        root: the folder that both are below.
        images: folder of the images.
        texts: folder of the files of boxes.
        suffix: theirs.
    """
    pictures, repeated = _by_name(image_files(root / images, LeftOut()), root, images)
    found, _ = _by_name(files_with(root / texts, suffix), root, texts)
    notes = [
        *remark(repeated, "images have the name of another, whose file of boxes cannot be for both, left out"),
        *remark([path for name, path in found.items() if name not in pictures], "files of boxes are of no image that is there"),
    ]
    return PairedFiles(pictures, found, tuple(notes))


def _by_name(paths: Iterable[str], root: Path, folder: str) -> tuple[dict[str, str], list[str]]:
    """Return name -> path below the root, and those whose name another has."""
    found: dict[str, str] = {}
    repeated = []
    for path in paths:
        name = without_suffix(os.path.relpath(path, root / folder))
        if found.setdefault(name, os.path.relpath(path, root)) != os.path.relpath(path, root):
            repeated.append(os.path.relpath(path, root))
    return found, repeated


def by_lists(lists: Mapping[str, Sequence[str]], files: PairedFiles) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names of the images of each split, and what was found wrong.

    Without a list for training, those in no list are; without one for validation, none are yet.

    Args:
        lists: what a list is called, such as "trainval" -> the names that it lists.
        files: the images.
    """
    if not lists:
        return {"train": sorted(files.images)}, []
    listed = {name: [line for line in dict.fromkeys(lines) if line in files.images] for name, lines in lists.items()}
    val = next((name for name in SPLIT_NAMES["val"] if name in lists), None)
    train = next((name for name in TRAINING_LISTS if name in lists), None)
    every = {name for lines in listed.values() for name in lines}
    chosen = sorted(files.images.keys() - every) if train is None else listed[train]
    held = set(listed[val]) if val is not None and train == "trainval" else set()
    notes: list[str] = []
    for name, lines in lists.items():
        counts = Counter(lines)
        notes += remark([line for line in counts if line not in files.images], f"images that {name} lists are missing, left out")
        notes += remark(
            [line for line, count in counts.items() if count > 1], f"images are listed by {name} more than once, and taken once"
        )
    if train is not None:
        notes += remark([path for name, path in files.images.items() if name not in every], "images are in no list, left out")
    splits = {"train": [name for name in chosen if name not in held]}
    return splits if val is None else splits | {"val": listed[val]}, notes


def read_contents(
    root: Path, files: PairedFiles, names: Sequence[str], read: Callable[[Path], Content], *, bare: bool
) -> Contents[Content]:
    """Read the files of boxes of some images; those of damaged ones are left out.

    Args:
        root: the folder.
        files: the images and files.
        names: which.
        read: returns what a file says, or raises OSError or ValueError.
        bare: whether an image without a file is kept, as one without an object.
    """

    def ask(place: int) -> Content | str | None:
        text = files.texts.get(names[place])
        try:
            return None if text is None else read(root / text)
        except (OSError, ValueError) as error:
            return f"{printable(text, None)} {getattr(error, 'strerror', None) or reason_of(error)}"

    answers = dict(zip(names, each_answer("boxes", ask, range(len(names))), strict=True))
    missing = [files.images[name] for name, answer in answers.items() if answer is None]
    damaged = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    kept = [name for name, answer in answers.items() if name not in damaged and (bare or answer is not None)]
    notes = [
        *remark(list(damaged.values()), "files of boxes cannot be read, and their images are left out"),
        *remark(missing, "images have no file of boxes, " + ("and so no object" if bare else "left out")),
    ]
    said = [answer for answer in map(answers.get, kept) if not isinstance(answer, str)]
    return Contents(kept, [files.images[name] for name in kept], said, tuple(notes))


def annotated_images(
    root: Path, contents: Contents, sizes: Sequence[tuple[int, int]], marks: Sequence[Mark], reading: ImageReading, ids: Mapping[str, int]
) -> Annotated:
    """Return the images of a split with their objects; `ids` are their numbers by their paths."""
    images = ImageFiles(root, np.array([os.fsencode(path) for path in contents.paths]), None, reading)
    numbers = np.array([ids[path] for path in contents.paths], np.int64)
    return Annotated(images, numbers, np.array(sizes, np.int64).reshape(-1, 2), Marks.of(marks), notes=contents.notes)


def numbered(parts: Iterable[PairedFiles]) -> dict[str, int]:
    """Return a number for each image, from 1 in the order of their paths: path below the root -> number."""
    return {path: number for number, path in enumerate(sorted({path for part in parts for path in part.images.values()}), 1)}
