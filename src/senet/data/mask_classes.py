"""Which classes masks have, and what of their labels is wrong or easily overlooked."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from senet.data.image_file import open_regular
from senet.data.mask_layout import Pairs
from senet.data.mask_scan import IGNORED, MaskScan
from senet.data.masks import IGNORE, MaskReading, read_mask, unknown_labels
from senet.data.source import UnreadableImageError
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.text import printable

NAME_FILES = ("classes.txt", "labels.txt", "codes.txt")
"""Files in a root that may name the classes, one a line in the order of their indices."""

LARGEST_NAMES = 2**16
"""Bytes of the largest such file."""

BINARY = ("background", "foreground")
"""Classes of masks of two labels that nobody named."""

NAMED = 5
"""How many classes or masks a note names."""


def resolved(recipe: DataRecipe, reading: MaskReading, scans: Mapping[str, MaskScan]) -> tuple[MaskReading, dict[str, MaskScan]]:
    """Return how masks are read where a recipe leaves open what is ignored, and their scans read that way.

    Masks that hold two labels alone, of which one is 0, have two classes: 0 and 255 are as good as 0 and 1. In others 255 is ignored.
    """
    if reading.label_map is not None or reading.ignore is not None or reading.kind != "index":
        return reading, dict(scans)
    labels = sorted({label for scan in scans.values() for label in scan.labels.tolist()})
    count = recipe.num_classes if recipe.classes is None else len(recipe.classes)
    if count in (None, 2) and len(labels) == 2 and labels[0] == 0:
        return replace(reading, label_map={labels[1]: 1}), {split: scan.renamed({labels[1]: 1}) for split, scan in scans.items()}
    return replace(reading, ignore=IGNORE), {split: scan.renamed({IGNORE: IGNORED}) for split, scan in scans.items()}


def named_classes(root: Path, recipe: DataRecipe, reading: MaskReading, scans: Mapping[str, MaskScan]) -> tuple[str, ...]:
    """Return the names of the classes: the recipe's, those of a file in the root, else numbers.

    Raises:
        UsageError: if nothing says how many there are and the labels that are found are no series.
    """
    if recipe.classes is not None:
        return recipe.classes
    for name in NAME_FILES:
        if (root / name).is_file():
            return _names(root / name)
    labels = sorted({label for scan in scans.values() for label in scan.labels.tolist()} - {IGNORED})
    if reading.palette is not None and reading.kind == "colour":
        labels = sorted({found for label in range(len(reading.palette)) if (found := reading.class_of(label)) is not None})
    if not labels:
        raise UsageError(f"{root}: all masks hold nothing but what is ignored, so there are no classes")
    count = recipe.num_classes or labels[-1] + 1
    if recipe.num_classes is None and (len(labels) < count / 2 or count > IGNORE):
        found = ", ".join(map(str, labels[:10])) + (", ..." if len(labels) > 10 else "")
        raise UsageError(f"{root}: masks hold the labels {found}, which number no classes; say data.classes, data.label_map or data.masks")
    return BINARY if count == 2 and labels[-1] <= 1 else tuple(map(str, range(count)))


def _names(path: Path) -> tuple[str, ...]:
    with open_regular(path) as file:
        content = file.read(LARGEST_NAMES + 1)
    try:
        names = tuple(line.strip() for line in content.decode().splitlines() if line.strip())
    except UnicodeDecodeError:
        raise UsageError(f"{path} must name the classes in UTF-8, one a line") from None
    if not 1 <= len(names) <= IGNORE or len(set(names)) < len(names):
        raise UsageError(f"{path} must name 1 to {IGNORE} different classes, one a line, got {len(names)} lines")
    return names


def check_labels(root: Path, masks: np.ndarray, reading: MaskReading, scan: MaskScan, max_corrupt: float) -> None:
    """Raise UsageError for labels that are no class, and for more masks that cannot be read than a share of all."""
    bad = scan.unreadable
    if len(bad) > max_corrupt * len(masks):
        path, why = root / os.fsdecode(bytes(masks[bad[0]])), "and is readable now"
        try:
            read_mask(path, reading)
        except UnreadableImageError as error:
            why = str(error)
        raise UsageError(
            f"{root}: {len(bad)} of {len(masks)} masks cannot be read, more than data.max_corrupt {max_corrupt:g}, such as {why}"
        )
    assert reading.classes is not None
    unknown = np.flatnonzero(scan.labels >= reading.classes)
    if len(unknown):
        counts = {int(scan.labels[place]): int(scan.pixels[place]) for place in unknown}
        most = max(unknown, key=lambda place: scan.images[place])
        raise UsageError(
            f"{root}: {scan.images[most]} or more of {len(masks)} masks, such as {printable(os.fsdecode(bytes(masks[scan.first[most]])))}, "
            f"have {unknown_labels(counts, reading)}"
        )


def noted_classes(
    classes: tuple[str, ...], pairs: Mapping[str, Pairs], reading: MaskReading, scans: Mapping[str, MaskScan]
) -> tuple[str, ...]:
    """Return what is easily overlooked: classes without a pixel, masks in which everything is ignored."""
    notes = []
    for split, scan in scans.items():
        held = set(scan.labels.tolist())
        if empty := [name for index, name in enumerate(classes) if index not in held]:
            notes.append(f"{len(empty)} of {len(classes)} classes have no pixel in the masks for {split}: {_few(empty)}")
        if len(ignored := np.flatnonzero(scan.single == IGNORED)):
            names = [os.fsdecode(name) for name in pairs[split].masks[ignored[: NAMED + 1]].tolist()]
            notes.append(f"{len(ignored)} masks for {split} say nothing, all their pixels are ignored: {_few(names, len(ignored))}")
    return tuple(notes)


def _few(names: list[str], count: int | None = None) -> str:
    more = (count or len(names)) - NAMED
    return ", ".join(printable(name) for name in names[:NAMED]) + (f" and {more} more" if more > 0 else "")
