"""Where images and masks lie in a folder, recognised by the names of its folders; which mask is which image's."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import numpy as np

from senet.data.image_lists import listed_lines, without_suffix
from senet.data.image_tree import LeftOut, few, image_files, sub_folders
from senet.errors import UsageError
from senet.measuring.numbers import plural
from senet.text import printable

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "segmentationclass", "gt", "instances")
"""Names of folders, in lower case, that hold images, and those that hold masks; the first that is there is taken."""

SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "test", "testing")}
"""Split -> names of its folders and lists, the first that is there is taken."""

BESIDE = tuple(f"{{split}}{ending}" for ending in ("annot", "_annot", "_labels", "_masks", "masks", "labels"))
"""Names of the folder of a split's masks where the split's images lie in {split} itself, as CamVid's do."""

SPLIT_FORMS = (
    *((f"{{split}}/{images}", f"{{split}}/{masks}") for images in IMAGE_FOLDERS for masks in MASK_FOLDERS),
    *((f"{images}/{{split}}", f"{masks}/{{split}}") for images in IMAGE_FOLDERS for masks in MASK_FOLDERS),
    *(("{split}", masks) for masks in BESIDE),
)
"""Folders of the images and of the masks of a split, of which the first that are there are taken."""

PAIRS = tuple((images, masks) for images in IMAGE_FOLDERS for masks in MASK_FOLDERS)
"""Folders of images and masks that are not split."""

LIST_FOLDERS = ("", "splits", "imagesets", "imagesets/segmentation")
"""Folders of lists of images, a file SPLIT.txt with one name a line."""

ENDINGS = ("", "_mask", "_masks", "_label", "_labels", "_L", "_gt", "_seg", "_segmentation", "_instances")
"""What the name of a mask may have behind that of its image; all masks of a folder have the same."""

EXPECTED = (
    "it must hold train/images, train/masks, val/images and val/masks; train, trainannot, val and valannot; or images and masks, with the "
    "same names in each"
)


@dataclass(frozen=True)
class Pairs:
    """Images and their masks.

    Args:
        images: (N,) bytes, paths of images below the root.
        masks: (N,) bytes, paths of their masks.
        where: the two folders in words.
    """

    images: np.ndarray
    masks: np.ndarray
    where: str

    def __len__(self) -> int:
        return len(self.images)


def find_pairs(root: Path, val_share: float, left_out: LeftOut) -> dict[str, Pairs]:
    """Return the images and masks of "train" and "val" in a folder.

    Args:
        root: the folder.
        val_share: share of the images that are held out where nothing says which are: those whose names have the smallest SHA-256.
        left_out: files that are not read are added to it.

    Raises:
        UsageError: if nothing is recognised, or images or masks lack their partner.
    """
    names = {split: _first_form(root, split) for split in SPLIT_NAMES}
    if all(names.values()):
        return {split: _pairs(root, *found, left_out) for split, found in names.items() if found}
    single = names["train"] or first_folders(root, PAIRS)
    if single is None:
        there = [printable(name) for name in sub_folders(root)]
        raise UsageError(f"{root}: no images with masks are recognised; {EXPECTED}; it has: {', '.join(there[:10]) or 'no folders'}")
    return _split(root, _pairs(root, *single, left_out), val_share)


def has_masks(root: Path) -> bool:
    """Return whether a folder has folders of images and of masks, by their names."""
    return (_first_form(root, "train") or first_folders(root, PAIRS)) is not None


def _first_form(root: Path, split: str) -> tuple[str, str] | None:
    return first_folders(
        root, ((images.format(split=name), masks.format(split=name)) for name in SPLIT_NAMES[split] for images, masks in SPLIT_FORMS)
    )


def first_folders(root: Path, forms: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the first pair of folders, paths below the root, of which both are there; capitals make no difference."""
    look = cache(sub_folders)  # forms share folders, which may hold many files
    for images, masks in forms:
        found = _folder(root, images, look), _folder(root, masks, look)
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    return None


def _folder(root: Path, path: str, look: Callable[[Path], list[str]] = sub_folders) -> str | None:
    """Return a folder below the root as it is written there, whatever letters are capitals."""
    found = PurePath()
    for part in PurePath(path).parts:
        there = {name.lower(): name for name in look(root / found)}
        if part.lower() not in there:
            return None
        found /= there[part.lower()]
    return found.as_posix()


def _pairs(root: Path, images: str, masks: str, left_out: LeftOut) -> Pairs:
    pictures, labels = (_by_name(root / folder, left_out) for folder in (images, masks))
    if not pictures:
        raise UsageError(f"{root / images} has no images")
    ending = max(ENDINGS, key=lambda ending: sum(name.endswith(ending) and name.removesuffix(ending) in pictures for name in labels))
    found = {name.removesuffix(ending) if name.endswith(ending) else name: path for name, path in labels.items()}
    alone = {
        f"images of {len(pictures)} have no mask in {printable(masks)}": [path for name, path in pictures.items() if name not in found],
        f"masks of {len(labels)} have no image in {printable(images)}": [path for name, path in found.items() if name not in pictures],
    }
    if any(alone.values()):
        said = "; ".join(f"{len(paths)} {what}: {few(paths)}" for what, paths in alone.items() if paths)
        raise UsageError(f"{root}: {said}; image and mask must have the same name, whatever their suffixes; add or remove them")
    names = sorted(pictures)
    files, partners = (np.array([os.fsencode(os.path.relpath(part[name], root)) for name in names]) for part in (pictures, found))
    return Pairs(files, partners, f"{images} with {masks}")


def _by_name(folder: Path, left_out: LeftOut) -> dict[str, str]:
    """Return name (path below the folder without suffix) -> path of each image in a folder."""
    found: dict[str, str] = {}
    for path in image_files(folder, left_out):
        name = without_suffix(os.path.relpath(path, folder))
        if name in found:
            raise UsageError(
                f"{printable(found[name])} and {printable(path)} have the same name, and one mask cannot be for both; rename one"
            )
        found[name] = path
    return found


def _split(root: Path, pairs: Pairs, val_share: float) -> dict[str, Pairs]:
    """Split images that lie in one folder, by lists beside it, or by their names."""
    names = [PurePath(os.fsdecode(path)).with_suffix("").as_posix() for path in pairs.images]
    common = len(os.path.commonpath([PurePath(name).parent for name in names]))
    short = {name[common:].lstrip("/"): place for place, name in enumerate(names)}
    lists = {split: path for split in SPLIT_NAMES if (path := _list(root, split)) is not None}
    listed = {split: _listed(path, short) for split, path in lists.items()}
    if "val" in listed:
        listed.setdefault("train", sorted(set(range(len(pairs))) - set(listed["val"])))
        said = ", ".join(printable(path.name) for path in lists.values())
        if both := set(listed["train"]) & set(listed["val"]):
            raise UsageError(f"{root}: {said}: {len(both)} images are in both lists, such as {printable(names[min(both)])}")
    else:
        listed["val"] = held_out(list(short), val_share)
        listed["train"] = sorted(set(listed.get("train", range(len(pairs)))) - set(listed["val"]))
        said = f"data.val_share {val_share:g} is held out"
    for split, places in listed.items():
        if not places:
            few_images = "; one image cannot serve for training and for validation" if len(pairs) == 1 else ""
            raise UsageError(f"{root}: of {plural(len(pairs), 'image')} none is for {split} ({said}){few_images}")
    return {split: Pairs(pairs.images[listed[split]], pairs.masks[listed[split]], f"{pairs.where}, {said}") for split in SPLIT_NAMES}


def held_out(names: Sequence[str], share: float) -> list[int]:
    """Return the places of a share of things, at least one of several: those whose names have the smallest SHA-256.

    So who is held out follows from the names alone, whatever their order.
    """
    count = min(max(1, round(share * len(names))), len(names) - 1) if share else 0
    digests = [hashlib.sha256(name.encode(errors="surrogateescape")).digest() for name in names]
    return sorted(sorted(range(len(names)), key=digests.__getitem__)[:count])


def _list(root: Path, split: str) -> Path | None:
    for folder in LIST_FOLDERS:
        place = _folder(root, folder)
        for name in SPLIT_NAMES[split]:
            if place is not None and (path := root / place / f"{name}.txt").is_file():
                return path
    return None


def _listed(path: Path, places: Mapping[str, int]) -> list[int]:
    """Return the places of the images that a file lists, one name a line, with or without suffix."""
    lines = listed_lines(path)
    found = [places.get(line, places.get(without_suffix(line))) for line in lines]
    if missing := [line for line, place in zip(lines, found, strict=True) if place is None]:
        raise UsageError(f"{path}: {len(missing)} of {len(lines)} images that it lists are not there: {few(missing)}")
    return list(dict.fromkeys(place for place in found if place is not None))
