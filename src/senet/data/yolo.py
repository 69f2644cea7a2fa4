"""Boxes of YOLO's text files: `data.name: yolo`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

from senet.data.box_checks import remark
from senet.data.box_marks import UNLISTED, Annotated, FoundBoxes, Mark
from senet.data.box_pairs import LIST_NAMES, UNSPLIT, Contents, PairedFiles, annotated_images, by_lists, numbered, read_contents
from senet.data.image_file import ImageReading
from senet.data.image_lists import listed_lines
from senet.data.image_tree import LeftOut, files_with, image_files
from senet.data.mask_layout import SPLIT_NAMES, first_folders
from senet.data.yolo_description import MOST_CLASSES, YoloDescription, find_description, meant_paths
from senet.data.yolo_file import YoloFile, read_yolo
from senet.errors import UsageError
from senet.file_kind import file_kind

YOLO_LAYOUT = "with DIR/images/train, DIR/labels/train/*.txt, the same of val, and DIR/data.yaml"

LIST_FILES = {f"{form}{name}.txt": name for name in LIST_NAMES for form in ("", "autosplit_")}
"""File in the root that lists images -> what the list is called."""

OTHER_TEXTS = frozenset({*LIST_FILES, "classes.txt", "labels.txt", "readme.txt", "readme.roboflow.txt", "readme.dataset.txt"})
"""Text files, in lower case, that may lie among those of boxes and say something else."""

LABELS_OF = {"images": "labels", "Images": "Labels", "IMAGES": "LABELS"}
"""Folder of images -> folder of their text files."""

UNSPLIT_FORMS = (("images", "labels"),)


def has_yolo_boxes(root: Path) -> bool:
    """Return whether a folder holds images with text files."""
    try:
        described = find_description(root)
    except UsageError:  # whoever reads the boxes says so
        described = YoloDescription(None)
    return any(
        _is_there(root, image) and _is_there(root, label_path(image)) for images in _listed(root, described).values() for image in images
    )


def find_yolo_boxes(root: Path, reading: ImageReading) -> FoundBoxes:
    """Return what text files in a folder say of boxes.

    Raises:
        UsageError: if there are none, or a file that describes the folder says something else.
    """
    described = find_description(root)
    lists = _listed(root, described)
    files = _paired(root, lists)
    if not files.texts:
        raise UsageError(f"{root}: there are no text files of YOLO; expected is {YOLO_LAYOUT.removeprefix('with ')}")
    names, said = by_lists({} if UNSPLIT in lists else lists, files)
    ids = numbered([files])
    read = partial(read_yolo, keypoints=described.keypoints)
    contents = {split: read_contents(root, files, names[split], read, bare=True) for split in names}
    numbers, classes, named = _classes(described, contents.values())
    labels = {number: label for label, number in enumerate(numbers)}
    where = ", ".join(_outer_folders(map(label_path, files.images)))
    notes = (f"boxes by text files in {where}", *described.notes, *named, *files.notes, *said)
    return FoundBoxes({split: _annotated(root, part, labels, reading, ids) for split, part in contents.items()}, classes, notes)


def _listed(root: Path, described: YoloDescription) -> dict[str, list[str]]:
    """Return what a list is called, such as "train" -> paths of images below the root, which need not be there."""
    places: dict[str, list[str]] = described.places
    if "train" not in places:
        folders = {split: first_folders(root, _split_forms(names)) for split, names in SPLIT_NAMES.items()}
        found = {split: [pair[0]] for split, pair in folders.items() if pair is not None}
        places = found if "train" in found else {}
    if not places:
        lists = {name: [file] for file, name in reversed(LIST_FILES.items()) if (root / file).is_file()}
        single = first_folders(root, UNSPLIT_FORMS)
        places = lists or ({} if single is None else {UNSPLIT: [single[0]]})
    return {name: [path for entry in entries for path in _images(root, entry)] for name, entries in places.items()}


def _split_forms(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        yield f"images/{name}", f"labels/{name}"
        yield f"{name}/images", f"{name}/labels"


def _images(root: Path, entry: str) -> list[str]:
    """Return the images in a folder, or those that a file lists."""
    path = root / entry
    if path.is_dir():
        return [os.path.relpath(image, root) for image in image_files(path, LeftOut())]
    return [_below(root, path.parent, line) for line in listed_lines(path)]


def _below(root: Path, folder: Path, line: str) -> str:
    """Return the path below the root of an image that a list in a folder names; the line itself if there is none."""
    found = next((path for path in meant_paths(root, os.path.relpath(folder, root), line) if file_kind(path) == "file"), None)
    return line if found is None else os.path.relpath(found, root)


def _is_there(root: Path, path: str) -> bool:
    """Return whether a file is there below the root, and none that a list names elsewhere."""
    return not PurePath(path).is_absolute() and ".." not in PurePath(path).parts and file_kind(root / path) == "file"


def label_path(image: str) -> str:
    """Return where the text file of an image is: in "labels" where the image is in "images", else beside it."""
    path = PurePath(image)
    parts = list(path.with_suffix(".txt").parts)
    place = next((place for place in reversed(range(len(parts) - 1)) if parts[place] in LABELS_OF), None)
    if place is not None:
        parts[place] = LABELS_OF[parts[place]]
    return PurePath(*parts).as_posix()


def _outer_folders(paths: Iterable[str]) -> list[str]:
    """Return the folders of files, sorted, of those that lie in each other the outer one."""
    folders = sorted({PurePath(path).parent for path in paths})
    return [str(folder) for folder in folders if not any(outer in folder.parents for outer in folders)]


def _texts(root: Path, folder: str) -> Iterator[str]:
    """Yield the text files in and below a folder, by their paths below the root."""
    if (root / folder).is_dir():
        yield from (PurePath(os.path.relpath(path, root)).as_posix() for path in files_with(root / folder, ".txt"))


def _paired(root: Path, lists: Mapping[str, Sequence[str]]) -> PairedFiles:
    """Return the images in the folders of those that are listed, and their text files, each by the path of the image."""
    there = {image for images in lists.values() for image in images if _is_there(root, image)}
    beside = {os.path.relpath(path, root) for folder in _outer_folders(there) for path in image_files(root / folder, LeftOut())}
    images = sorted(there | beside)
    texts = {text for folder in _outer_folders(map(label_path, images)) for text in _texts(root, folder)}
    alone = [text for text in sorted(texts - set(map(label_path, images))) if PurePath(text).name.lower() not in OTHER_TEXTS]
    notes = remark(alone, "files of boxes are of no image that is there")
    return PairedFiles(
        {image: image for image in images}, {image: text for image in images if (text := label_path(image)) in texts}, tuple(notes)
    )


def _classes(described: YoloDescription, contents: Iterable[Contents[YoloFile]]) -> tuple[list[int], tuple[str, ...], list[str]]:
    """Return the numbers of the classes in rising order, their names, and what is to be said of them."""
    if described.names is not None:
        numbers = list(described.names)
        holes = numbers != list(range(len(numbers)))
        return numbers, tuple(described.names.values()), ["classes are in the order of their numbers, which have holes"] if holes else []
    found = {entry.number for part in contents for said in part.said if said is not None for entry in said.objects}
    numbers = list(range(max((number for number in found if 0 <= number < MOST_CLASSES), default=-1) + 1))
    return numbers, tuple(map(str, numbers)), [f"{len(numbers)} classes by their numbers; a file data.yaml or classes.txt names them"]


def _annotated(
    root: Path, contents: Contents[YoloFile], labels: Mapping[int, int], reading: ImageReading, ids: Mapping[str, int]
) -> Annotated:
    marks, wrong = [], []
    for place, said in enumerate(contents.said):
        if said is not None:
            marks += [
                Mark(place, entry.xyxy, labels.get(entry.number, UNLISTED), shape=entry.polygon and [entry.polygon])
                for entry in said.objects
            ]
            wrong += [f"{contents.paths[place]} line {line}" for line in said.wrong]
    found = annotated_images(root, contents, [(0, 0)] * len(contents.paths), marks, reading, ids)
    said = remark(wrong, "lines say neither a box nor a polygon in shares of the image, left out")
    return replace(found, relative=True, notes=(*found.notes, *said))
