"""Boxes of Pascal VOC's XML files: `data.name: voc`."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from senet.data.box_checks import remark
from senet.data.box_marks import UNLISTED, Annotated, FoundBoxes, Mark
from senet.data.box_pairs import LIST_NAMES, UNSPLIT, Contents, annotated_images, by_lists, numbered, paired_files, read_contents
from senet.data.image_file import ImageReading
from senet.data.image_lists import listed_lines, without_suffix
from senet.data.image_tree import files_with, sub_folders
from senet.data.mask_classes import file_classes
from senet.data.mask_layout import SPLIT_NAMES, first_folders
from senet.data.voc_file import VocFile, read_voc
from senet.errors import UsageError

VOC_LAYOUT = "with DIR/JPEGImages, DIR/Annotations/*.xml and DIR/ImageSets/Main/train.txt and val.txt"

PAIRS_OF_FOLDERS = (("jpegimages", "annotations"), ("images", "annotations"))
"""Folders of images and of their XML files."""

LIST_FOLDERS_OF_VOC = (("imagesets/main", "imagesets/main"), ("imagesets", "imagesets"))
"""Folders of lists."""


def has_voc_boxes(root: Path) -> bool:
    """Return whether a folder holds images with XML files."""
    return any(True for _, texts in _folders(root).values() for _ in files_with(root / texts, ".xml"))


def find_voc_boxes(root: Path, reading: ImageReading) -> FoundBoxes:
    """Return what XML files in a folder say of boxes.

    Raises:
        UsageError: if there are none.
    """
    folders = _folders(root)
    files = {split: paired_files(root, *pair, ".xml") for split, pair in folders.items()}
    if not any(part.texts for part in files.values()):
        raise UsageError(f"{root}: there are no XML files of Pascal VOC; expected is {VOC_LAYOUT.removeprefix('with ')}")
    notes = [
        *(f"boxes by XML files in {texts}" for _, texts in folders.values()),
        *(line for part in files.values() for line in part.notes),
    ]
    names = {split: sorted(part.images) for split, part in files.items()}
    ids = numbered(files.values())
    if UNSPLIT in folders:
        names, said = by_lists(_lists(root, files[UNSPLIT].images), files[UNSPLIT])
        files = dict.fromkeys(names, files[UNSPLIT])
        notes += said
    contents = {split: read_contents(root, files[split], names[split], read_voc, bare=False) for split in names}
    classes = file_classes(root)
    if classes is None:
        classes = tuple(sorted({entry.name for part in contents.values() for said in part.said if said for entry in said.objects} - {""}))
        notes.append(f"{len(classes)} classes by the names of the objects, in alphabetical order; a file classes.txt gives another")
    labels = {name: label for label, name in enumerate(classes)}
    return FoundBoxes({split: _annotated(root, part, labels, reading, ids) for split, part in contents.items()}, classes, tuple(notes))


def _folders(root: Path) -> dict[str, tuple[str, str]]:
    """Return split, or "all" -> folder of the images and folder of the XML files."""
    if (pair := first_folders(root, PAIRS_OF_FOLDERS)) is not None:
        return {UNSPLIT: pair}
    there = {folder.lower(): folder for folder in sub_folders(root)}
    beside = {split: next((there[name] for name in names if name in there), None) for split, names in SPLIT_NAMES.items()}
    return {split: (folder, folder) for split, folder in beside.items() if folder is not None} if beside["train"] else {}


def _lists(root: Path, images: Collection[str]) -> dict[str, list[str]]:
    """Return what a list is called -> the names of the images that it lists, with or without suffix."""
    folder = first_folders(root, LIST_FOLDERS_OF_VOC)
    if folder is None:
        return {}
    paths = [path for path in sorted((root / folder[0]).iterdir()) if path.suffix == ".txt" and path.stem.lower() in LIST_NAMES]
    return {path.stem.lower(): [line if line in images else without_suffix(line) for line in listed_lines(path)] for path in paths}


def _annotated(
    root: Path, contents: Contents[VocFile], labels: Mapping[str, int], reading: ImageReading, ids: Mapping[str, int]
) -> Annotated:
    marks, sizes, zero = [], [], []
    for place, said in enumerate(contents.said):
        assert said is not None  # images without a file are left out
        sizes.append(said.size)
        marks += [Mark(place, entry.xyxy, labels.get(entry.name, UNLISTED), entry.difficult) for entry in said.objects]
        zero += [contents.paths[place] for entry in said.objects if entry.begins_at_zero]
    found = annotated_images(root, contents, sizes, marks, reading, ids)
    said = remark(zero, "boxes begin at 0, before VOC's first pixel, which is 1: do these files count from 0?")
    return replace(found, notes=(*found.notes, *said))
