"""Description of a folder of YOLO's files, data.yaml: the names of its classes, and where its images lie."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from senet.data.mask_classes import file_classes
from senet.data.mask_layout import SPLIT_NAMES
from senet.errors import UsageError
from senet.file_kind import file_kind
from senet.recipe.yaml_text import parse_yaml, read_yaml_file
from senet.text import printable

MOST_CLASSES = 2**16
"""Classes that there may be."""

NAMES = ("data", "dataset")
"""What the description is commonly called; else it is any YAML file in the folder that names classes."""

KEYS = {"train": ("train",), "val": SPLIT_NAMES["val"][:3], "test": ("test",)}
"""Split -> keys of its images."""


@dataclass(frozen=True)
class YoloDescription:
    """Contents of data.yaml or, of the names alone, classes.txt.

    Args:
        names: number of a class -> its name; None = nothing says them.
        places: split -> files and folders of its images, paths below the root.
        keypoints: whether points of an object follow its box.
        notes: what was found wrong, one line each.
    """

    names: dict[int, str] | None
    places: dict[str, list[str]] = field(default_factory=dict)
    keypoints: bool = False
    notes: tuple[str, ...] = ()


def find_description(root: Path) -> YoloDescription:
    """Return what the files of a folder say of it.

    Raises:
        UsageError: if one cannot be read, or its names are none.
    """
    for path in _candidates(root):
        try:
            tree = parse_yaml(read_yaml_file(path, str(path)), str(path))
        except UsageError:
            if path.stem.lower() in NAMES:
                raise
            continue  # anybody's file
        if isinstance(tree, dict) and ("names" in tree or "nc" in tree):
            return _description(root, path, tree)
    for folder in (root, root / "labels", root / "labels" / "train"):
        if (names := file_classes(folder)) is not None:
            return YoloDescription(dict(enumerate(names)))
    return YoloDescription(None)


def _candidates(root: Path) -> list[Path]:
    there = [path for path in sorted(root.iterdir()) if path.suffix.lower() in (".yaml", ".yml") and path.is_file()]
    return sorted(there, key=lambda path: path.stem.lower() not in NAMES)


def _description(root: Path, path: Path, tree: dict[str, Any]) -> YoloDescription:
    names = _names(path, tree.get("names"))
    places, notes = {}, [f"described by {path.name}"]
    for split, keys in KEYS.items():
        said = next((tree[key] for key in keys if tree.get(key)), None)
        entries = said if isinstance(said, list) else [] if said is None else [said]
        found = [place for entry in entries if (place := _place(root, tree.get("path"), entry)) is not None]
        if len(found) < len(entries):
            notes.append(f"{path.name} says {split}: {printable(said)}, which is not in this folder")
        if found:
            places[split] = found
    count = tree.get("nc")
    if names is not None and type(count) is int and count != len(names):
        notes.append(f"{path.name} says {count} classes (nc) and names {len(names)}")
    return YoloDescription(names, places, tree.get("kpt_shape") is not None, tuple(notes))


def _names(path: Path, said: Any) -> dict[int, str] | None:
    if said is None:
        return None
    pairs = dict(enumerate(said)) if isinstance(said, list) else said if isinstance(said, dict) else {}
    if not pairs or not all(type(number) is int and 0 <= number < MOST_CLASSES for number in pairs):
        raise UsageError(f"{path}: names must be a list of names, or numbers with names, got {printable(said)}")
    names = {number: " ".join(str(name).split()) for number, name in sorted(pairs.items())}
    if len(set(names.values())) < len(names) or "" in names.values():
        raise UsageError(f"{path}: names must be different and not empty, got {printable(', '.join(names.values()))}")
    return names


def _place(root: Path, base: Any, said: Any) -> str | None:
    """Return a file or folder below the root that is meant by what is said; None = there is none."""
    return next((os.path.relpath(path, root) for path in meant_paths(root, base, said) if file_kind(path) is not None), None)


def meant_paths(root: Path, base: Any, said: Any) -> Iterator[Path]:
    """Yield paths below the root that may be meant: files may say those of another machine, or from the folder of the training code.

    Of those, two last parts or more count: a folder that is only called "images" is anybody's.

    Args:
        root: the folder.
        base: the path below it from which relative ones begin; anything else counts as none.
        said: what a file says.
    """
    if not isinstance(said, str) or "\0" in said:
        return
    parts = PurePath(said.replace("\\", "/")).parts
    inner = [part for part in parts if part not in ("..", ".", "/")]
    for start in (base if isinstance(base, str) else "", ""):
        path = Path(os.path.normpath(root / start / said))
        if path.is_relative_to(root) and path != root:
            yield path
    yield from (root.joinpath(*inner[place:]) for place in range(len(inner) - 1))
