"""COCO's JSON files: where they lie, what they list, and where their images are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from senet.data.image_file import open_regular
from senet.data.image_tree import few, sub_folders
from senet.data.mask_layout import SPLIT_NAMES
from senet.data.masks import Colour
from senet.errors import UsageError
from senet.file_kind import file_kind
from senet.schema import Requirement, integer, items, optional, read_json, record, text
from senet.text import printable

LARGEST_JSON = 2**30
"""Bytes of the largest JSON file that is read; COCO's largest has 0.45 GB."""

MOST_ENTRIES = 10**8
"""Images or annotations that a file may list."""

_ANYTHING = Requirement("anything", lambda value: True)
_SIDE = integer(1, 10**6)
_CATEGORY = record({"id": integer(0, 2**16 - 2), "name": text(200, low=1)}, needed=("id", "name"), others=_ANYTHING)
_MAPPING = Requirement("a mapping", lambda value: isinstance(value, dict))


def _file_rule(side: Requirement, needed: Sequence[str]) -> Requirement:
    """Return the rule for a file whose images must say these things, their sides by a rule."""
    image = {"id": integer(0, 2**63), "file_name": text(1000, low=1), "width": side, "height": side}
    lists = {
        "images": items(record(image, needed=needed, others=_ANYTHING), 1, MOST_ENTRIES),
        "annotations": items(_MAPPING, 0, MOST_ENTRIES),
        "categories": items(_CATEGORY, 1, 2**16 - 1),
    }
    return record(lists, needed=tuple(lists), others=_ANYTHING)


FILE = _file_rule(_SIDE, ("id", "file_name", "width", "height"))

FILE_OF_ANY_SIZE = _file_rule(optional(integer(0, 10**6)), ("id", "file_name"))
"""The rule for a file that need not say sizes of images, since only boxes are taken of it."""

SINGLE = (("images", "id"), ("images", "file_name"), ("categories", "id"))
"""List -> the key of which its entries have different values."""


@dataclass(frozen=True)
class Category:
    """One category of a file.

    Args:
        id: its number there, which is its label.
        name: its name.
        is_thing: whether it has objects, not only areas.
        colour: that it is shown in; None = nothing says so.
    """

    id: int
    name: str
    is_thing: bool
    colour: Colour | None


@dataclass(frozen=True)
class Listing:
    """Contents of a JSON file.

    Args:
        path: the file.
        images: what it lists.
        annotations: what it says of them.
        categories: sorted by their number.
    """

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: tuple[Category, ...]


def find_listings(root: Path, kinds: Sequence[str]) -> dict[str, list[Path]]:
    """Return the JSON files of "train" and "val" in a folder or in its folder "annotations".

    A file is called KIND_SPLIT....json, as instances_train2017.json is; else SPLIT.json, or _annotations.coco.json in a folder of the
    split. Where no file is for "val", only "train" is returned.

    Args:
        root: the folder.
        kinds: what files of the kinds that are looked for begin with; of each kind one is returned.

    Raises:
        UsageError: if there is none for "train".
    """
    places = [root / "annotations", root]
    there = [path for place in places if place.is_dir() for path in sorted(place.iterdir()) if path.suffix.lower() == ".json"]
    found: dict[str, list[Path]] = {}
    for split, names in SPLIT_NAMES.items():
        named = [_named(there, [f"{kind}_{name}" for name in names]) for kind in kinds]
        in_folders = [root / folder / "_annotations.coco.json" for name in names for folder in sub_folders(root) if folder.lower() == name]
        one = [path for path in [_named(there, list(names)), *in_folders] if path is not None and path.is_file()][:1]
        if listed := [path for path in named if path is not None] or one:
            found[split] = listed
    if "train" not in found:
        forms = ", ".join(f"annotations/{kind}_train2017.json" for kind in kinds)
        seen = [printable(path.relative_to(root)) for path in there]
        raise UsageError(
            f"{root}: there is no {forms}, train.json or train/_annotations.coco.json; JSON files there: {few(seen) or 'none'}"
        )
    return found


def _named(paths: Sequence[Path], beginnings: Sequence[str]) -> Path | None:
    """Return the first path whose name is one of these beginnings, with a year or more behind it at most; whole names win."""
    for beginning in beginnings:
        found = [path for path in paths if path.stem.lower() == beginning or path.stem.lower().rstrip("0123456789_-") == beginning]
        if found:
            return min(found, key=lambda path: len(path.stem))
    return None


def read_listing(path: Path, rule: Requirement = FILE, single: Sequence[tuple[str, str]] = SINGLE) -> Listing:
    """Read a JSON file.

    Args:
        path: the file.
        rule: what it may say.
        single: lists of which no two entries may have the same value of a key.

    Raises:
        UsageError: if it is too large, says something else, or lists an image or a category twice.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        raise UsageError(f"{path} has more than {LARGEST_JSON} bytes")
    tree = read_json(content, str(path), rule)
    for what, key in single:
        values = [entry[key] for entry in tree[what]]
        if len(set(values)) < len(values):
            raise UsageError(f"{path}: {len(values) - len(set(values))} {what} have the {key} of another")
    categories = tuple(_category(entry) for entry in sorted(tree["categories"], key=lambda entry: entry["id"]))
    return Listing(path, tree["images"], tree["annotations"], categories)


def _category(entry: dict[str, Any]) -> Category:
    said = entry.get("color")
    colour = said if isinstance(said, list) and len(said) == 3 and all(type(part) is int and 0 <= part <= 255 for part in said) else None
    return Category(entry["id"], entry["name"], entry.get("isthing", 1) != 0, None if colour is None else (colour[0], colour[1], colour[2]))


def image_paths(root: Path, listing: Listing, kinds: Sequence[str]) -> np.ndarray:
    """Return where the images of a file lie, below the root: (N,) bytes.

    Raises:
        UsageError: as `image_folder` does, and if images are missing.
    """
    folder, names = image_folder(root, listing, kinds)
    if missing := [name for name in names if file_kind(folder / name) != "file"]:
        raise UsageError(f"{folder}: {len(missing)} of {len(names)} images that {listing.path.name} lists are missing: {few(missing)}")
    return np.array([os.fsencode(os.path.relpath(folder / name, root)) for name in names])


def image_folder(root: Path, listing: Listing, kinds: Sequence[str], tried: int = 1) -> tuple[Path, list[str]]:
    """Return the folder of the images of a file, and their names in it.

    The folder is the first that holds one of the first `tried` images: that of the split, with or without its year, in the root or in
    "images"; "images"; that of the file; the root.

    Raises:
        UsageError: if a name leads out of its folder, or no folder holds the images.
    """
    names = [entry["file_name"].replace("\\", "/") for entry in listing.images]
    if leading := [name for name in names if PurePath(name).is_absolute() or ".." in PurePath(name).parts or "\0" in name]:
        raise UsageError(f"{listing.path}: {len(leading)} names of images lead out of their folder, such as {printable(leading[0])}")
    stem = next((listing.path.stem[len(kind) + 1 :] for kind in kinds if listing.path.stem.startswith(f"{kind}_")), listing.path.stem)
    split = stem.rstrip("0123456789_-")
    places = list(dict.fromkeys([stem, f"images/{stem}", split, f"images/{split}", "images"]))
    folders = [*(root / place for place in places), listing.path.parent, root]
    folder = next((folder for folder in folders if any(file_kind(folder / name) == "file" for name in names[:tried])), None)
    if folder is None:
        raise UsageError(
            f"{root}: {printable(names[0])}, which {listing.path.name} lists, is in none of {', '.join(places)} or the folder itself"
        )
    return folder, names


def joined_categories(listings: Sequence[Listing]) -> tuple[Category, ...]:
    """Return the categories of several files, sorted by their number.

    Raises:
        UsageError: if one number has two names, or two have one name.
    """
    found: dict[int, Category] = {}
    for listing in listings:
        for category in listing.categories:
            if found.setdefault(category.id, category).name != category.name:
                both = f"{printable(found[category.id].name)!r} and {printable(category.name)!r}"
                raise UsageError(f"{listing.path}: category {category.id} is {both}, in files that belong together")
    categories = tuple(found[number] for number in sorted(found))
    if len({category.name for category in categories}) < len(categories):
        raise UsageError(f"{listings[0].path}: two categories have the same name")
    return categories
