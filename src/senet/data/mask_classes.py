"""Which classes masks have, and what of their labels is wrong or easily overlooked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from senet.data.image_file import open_regular
from senet.data.image_tree import few
from senet.data.mask_scan import IGNORED, MaskScan, RawMasks
from senet.data.masks import IGNORE, Colour, LabelMap, MaskReading, Palette, unknown_labels
from senet.data.palettes import voc_palette
from senet.data.source import UnreadableImageError
from senet.errors import UsageError
from senet.recipe import DataRecipe

NAME_FILES = ("classes.txt", "labels.txt", "codes.txt")
"""Files in a root that may name the classes, one a line in the order of their indices."""

LARGEST_NAMES = 2**16
"""Bytes of the largest such file."""

MOST_MAPPED = 16
"""Labels of which a message spells the map that makes each a class."""

BACKGROUND = "background"
"""Name of the class that is no object: it counts in the loss and in the table of classes, and in no mean."""

BINARY = (BACKGROUND, "foreground")
"""Classes of masks of two labels that nobody named."""


@dataclass(frozen=True)
class MaskClasses:
    """Knowledge of classes before the masks are looked at.

    Args:
        reading: how masks are read; what is ignored may be open (None).
        names: names of the classes, in the order of their indices; None = nothing says them.
        label_colours: label -> the colour that something says it is shown in.
    """

    reading: MaskReading
    names: tuple[str, ...] | None
    label_colours: Mapping[int, Colour]

    def named(self, recipe: DataRecipe) -> tuple[str, ...] | None:
        """Return the names that the recipe gives, else those that something says; None = nothing does.

        One name alone is that of one kind of object, and what is none of it is `BACKGROUND`; with a label map it is as the map says.
        """
        return with_background(recipe.classes or self.names, self.reading.label_map)

    def resolved(self, recipe: DataRecipe, scans: Mapping[str, MaskScan]) -> tuple[MaskReading, dict[str, MaskScan]]:
        """Return how masks are read where it was open what is ignored, and their scans read that way.

        Masks that hold two labels alone, of which one is 0, have two classes: 0 and 255 are as good as 0 and 1. In others 255 is ignored.
        """
        reading = self.reading
        if reading.label_map is not None or reading.ignore is not None or reading.kind != "index":
            return reading, dict(scans)
        labels, names = _labels_of(scans), self.named(recipe)
        count = len(names) if names else recipe.num_classes
        if count in (None, 2) and len(labels) == 2 and labels[0] == 0:
            return replace(reading, label_map={labels[1]: 1}), {split: scan.renamed({labels[1]: 1}) for split, scan in scans.items()}
        return replace(reading, ignore=IGNORE), {split: scan.renamed({IGNORE: IGNORED}) for split, scan in scans.items()}

    def names_of(self, recipe: DataRecipe, reading: MaskReading, scans: Mapping[str, MaskScan]) -> tuple[str, ...]:
        """Return the names of the classes: the recipe's, those that something says, else numbers.

        Raises:
            UsageError: if nothing says how many there are and the labels that are found are no series.
        """
        if names := self.named(recipe):
            return names
        labels = _labels_of(scans)
        if reading.kind == "colour":
            labels = sorted({found for label in range(len(reading.palette or ())) if (found := reading.class_of(label)) is not None})
        if not labels:
            raise UsageError("all masks hold nothing but what is ignored, so there are no classes")
        count = recipe.num_classes or labels[-1] + 1
        if count == 1:
            raise UsageError(
                "all masks hold the label 0 alone, so there is nothing to tell apart; are they the masks of these images? "
                "data.classes names classes that only other masks show"
            )
        if recipe.num_classes is None and (len(labels) < count / 2 or count > IGNORE):
            raise UsageError(f"masks hold the labels {_listed(labels)}, which do not number classes; {_advice(labels)}")
        return BINARY if count == 2 else tuple(map(str, range(count)))

    def colours(self, reading: MaskReading, classes: int) -> Palette:
        """Return a colour for each class: that of its first label, else that which PASCAL VOC gives its index."""
        colours = dict(enumerate(voc_palette(classes)))
        for label in sorted(self.label_colours, reverse=True):
            if (found := reading.class_of(label)) is not None and found < classes:
                colours[found] = self.label_colours[label]
        return tuple(colours[index] for index in range(classes))


def _listed(labels: list[int]) -> str:
    return ", ".join(map(str, labels[:10])) + (", ..." if len(labels) > 10 else "")


def _advice(labels: list[int]) -> str:
    """Say what makes classes of labels: a few are grey levels or numbers of other classes, many number objects."""
    if len(labels) > MOST_MAPPED:
        return "if they number objects, set data.masks to instances; else say data.classes or data.label_map"
    mapped = ", ".join(f"{label}: {index}" for index, label in enumerate(labels))
    return (
        f"--data.label_map '{{{mapped}}}' makes each a class of its own, --data.masks instances all but 0 one class; "
        "data.classes says that classes are missing here"
    )


def with_background(names: tuple[str, ...] | None, label_map: LabelMap | None) -> tuple[str, ...] | None:
    """Return names of classes; before the name of a single kind of object, `BACKGROUND`, unless a label map says what is what."""
    alone = names is not None and len(names) == 1 and names[0].lower() != BACKGROUND and label_map is None
    return (BACKGROUND, *names) if names is not None and alone else names


def background_note(name: str) -> str:
    """Say that a class was added to the one that has a name."""
    return f"one class is named, {name}: label 0 is the class {BACKGROUND}, which comes before it"


def _labels_of(scans: Mapping[str, MaskScan]) -> list[int]:
    return sorted({label for scan in scans.values() for label in scan.labels.tolist()} - {IGNORED})


def file_classes(root: Path) -> tuple[str, ...] | None:
    """Return the names of classes that a file in a folder says; None if there is none.

    Raises:
        UsageError: if it says something else.
    """
    path = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if path is None:
        return None
    with open_regular(path) as file:
        content = file.read(LARGEST_NAMES + 1)
    try:
        names = tuple(line.strip() for line in content.decode().splitlines() if line.strip())
    except UnicodeDecodeError:
        raise UsageError(f"{path} must name the classes in UTF-8, one a line") from None
    if not 1 <= len(names) <= IGNORE or len(set(names)) < len(names):
        raise UsageError(f"{path} must name 1 to {IGNORE} different classes, one a line, got {len(names)} lines")
    return names


def check_readable(masks: RawMasks, scan: MaskScan, max_corrupt: float) -> None:
    """Raise UsageError for more masks that cannot be read than a share of all."""
    bad = scan.unreadable.tolist()
    if len(bad) > max_corrupt * len(masks):
        try:
            why = f"{masks.describe(bad[0])}, which can be read by now ({masks.labels(bad[0]).shape})"
        except UnreadableImageError as error:
            why = str(error)
        raise UsageError(
            f"{len(bad)} of {len(masks)} masks cannot be read, more than data.max_corrupt {max_corrupt:g} allows, such as {why}"
        )


def check_labels(masks: RawMasks, reading: MaskReading, scan: MaskScan) -> None:
    """Raise UsageError for labels that are no class."""
    labels, images = scan.labels.tolist(), scan.images.tolist()
    unknown = [place for place, label in enumerate(labels) if not reading.is_known(None if label == IGNORED else label)]
    if unknown:
        most = max(unknown, key=images.__getitem__)
        raise UsageError(
            f"{'at least ' if len(unknown) > 1 else ''}{images[most]} of {len(masks)} masks, such as "
            f"{masks.describe(int(scan.first[most]))}, have "
            f"{unknown_labels({labels[place]: int(scan.pixels[place]) for place in unknown}, reading)}"
        )


def noted_classes(classes: tuple[str, ...], masks: Mapping[str, RawMasks], scans: Mapping[str, MaskScan]) -> tuple[str, ...]:
    """Return what is easily overlooked: classes without a pixel, masks in which everything is ignored."""
    notes = []
    for split, scan in scans.items():
        held = set(scan.labels.tolist())
        if empty := [name for index, name in enumerate(classes) if index not in held]:
            notes.append(f"{len(empty)} of {len(classes)} classes have no pixel in the masks for {split}: {few(empty)}")
        if ignored := np.flatnonzero(scan.single == IGNORED).tolist():
            names = [masks[split].describe(index) for index in ignored]
            notes.append(f"{len(ignored)} masks for {split} say nothing, all their pixels are ignored: {few(names)}")
    return tuple(notes)
