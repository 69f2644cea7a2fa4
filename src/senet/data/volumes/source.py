"""Volumes in a folder as a source of slices or of patches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from senet.data.mapped import room_for_arrays
from senet.data.mask_classes import background_note, with_background
from senet.data.mask_source import crop_side
from senet.data.masks import IGNORE, LabelMap, MaskReading
from senet.data.palettes import voc_palette
from senet.data.source import DataSource, input_spec
from senet.data.volumes.cases import EXPECTED_VOLUMES, Case, CaseFolders, common_channels, find_cases
from senet.data.volumes.label_scan import LabelScan, scan_labels
from senet.data.volumes.reading import KeptVolumes, VolumeReading
from senet.data.volumes.slices import CutVolumes, all_slices, thinned, whole_volumes
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.text import printable

SPLITS_OF_VOLUMES = ("train", "val")


@dataclass(frozen=True)
class LabelClasses:
    """Classes of labels.

    Args:
        names: of the classes, in order.
        reading: which class a label is.
    """

    names: tuple[str, ...]
    reading: MaskReading

    def of(self, scan: LabelScan) -> np.ndarray:
        """Return the class of each value of a scan: (K,) int64, `IGNORE` where it is ignored."""
        found = [self.reading.class_of(value) for value in scan.values.tolist()]
        return np.array([IGNORE if index is None else index for index in found], np.int64)


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the volumes in the recipe's root, check the headers of all files, and look at all labels once.

    Raises:
        UsageError: if the folder is not recognised, files lack their partner or cannot be believed, labels are no class, or the environment
            says no room for what is kept.
    """
    _check_fields(recipe)
    room_for_arrays()  # what is wrong there is said before training
    if recipe.root is None:
        raise UsageError(f"volumes needs --data.root DIR; {EXPECTED_VOLUMES}")
    root = user_path(recipe.root)
    if not root.is_dir():
        raise UsageError(f"data.root {recipe.root!r} is not a folder; {EXPECTED_VOLUMES}")
    plan = recipe.volumes
    folders = find_cases(root, plan.val, recipe.val_share, plan.max_voxels)
    channels = common_channels([case for split in SPLITS_OF_VOLUMES for case in folders.splits[split]])
    scans = {split: scan_labels(folders.splits[split], plan) for split in SPLITS_OF_VOLUMES}
    classes = label_classes(root, recipe, folders.names, scans)
    for split in SPLITS_OF_VOLUMES:
        _check_labels(root, folders.splits[split], scans[split], classes.reading)
    reading = VolumeReading.of(recipe, classes.reading)
    added = [background_note(name) for name in recipe.classes or () if len(classes.names) > len(recipe.classes or ())]
    train, val = (_images(split, folders, scans[split], classes, reading) for split in SPLITS_OF_VOLUMES)
    return DataSource(
        name="volumes",
        train=train,
        val=val,
        classes=classes.names,
        input=_input(recipe, scans["train"], channels * plan.slices),
        notes=tuple(f"{root}: {printable(note, None)}" for note in (*_notes(folders, scans, classes, train), *added)),
        palette=voc_palette(len(classes.names)),
        patch=plan.patch,
    )


def label_classes(root: Path, recipe: DataRecipe, named: Mapping[int, str], scans: Mapping[str, LabelScan]) -> LabelClasses:
    """Return the classes of labels: those of the recipe's map and names, else of `dataset.json`, else the labels that are found, in order.

    Raises:
        UsageError: if there are too many, or another number than of names.
    """
    found = sorted({value for scan in scans.values() for value in scan.values.tolist()} - {recipe.ignore_index})
    label_map: LabelMap | None = recipe.label_map
    names = with_background(recipe.classes, label_map)
    if label_map is None and named and names is None:
        kept = [label for label, name in named.items() if name.lower() != "ignore"]
        label_map = {**{label: index for index, label in enumerate(kept)}, **dict.fromkeys(named.keys() - set(kept), None)}
        names = tuple(named[label] for label in kept)
    elif label_map is None and names is None and found != list(range(len(found))):
        label_map = {label: index for index, label in enumerate(found)}
        names = tuple(map(str, found))
    reading = MaskReading(label_map=label_map, ignore=recipe.ignore_index)
    if names is None:
        known = [index for label in found if (index := reading.class_of(label)) is not None]
        names = tuple(str(index) for index in range(recipe.num_classes or max(known, default=0) + 1))
        names = ("background", *names[1:]) if len(names) > 1 else names
    if not 1 <= len(names) <= IGNORE:
        raise UsageError(f"{root}: {len(names)} classes are too many, {IGNORE} can be; say which labels are one, data.label_map")
    return LabelClasses(names, replace(reading, classes=len(names)))


def _check_fields(recipe: DataRecipe) -> None:
    """Raise UsageError for fields of the recipe that do not go together."""
    window = recipe.volumes.intensity == "window"
    if window and recipe.range is None:
        raise UsageError("data.volumes.intensity 'window' needs data.range, the values that become 0 and 1, such as [-160, 240]")
    if not window and recipe.range is not None:
        raise UsageError(f"data.range is for data.volumes.intensity 'window', and that is {recipe.volumes.intensity!r}")
    for name in ("mean", "std", "masks", "palette"):
        if getattr(recipe, name) is not None:
            raise UsageError(f"data.{name} does not apply to volumes, whose values data.volumes.intensity normalises; leave it out")


def _check_labels(root: Path, cases: tuple[Case, ...], scan: LabelScan, reading: MaskReading) -> None:
    """Raise UsageError for labels that are no class."""
    unknown = [place for place, value in enumerate(scan.values.tolist()) if not reading.is_known(reading.class_of(value))]
    if unknown:
        worst = max(unknown, key=lambda place: int(scan.counts[:, place].sum()))
        held = scan.volumes_with(worst)
        said = ", ".join(f"{scan.values[place]}: {scan.counts[:, place].sum()} voxels" for place in unknown[:5])
        raise UsageError(
            f"{root}: {len(held)} of {len(cases)} label volumes, such as {printable(cases[held[0]].name)}, have labels that are no class "
            f"({said}{', ...' if len(unknown) > 5 else ''}), where 0 to {(reading.classes or IGNORE) - 1} are classes; "
            "data.label_map says what becomes of a label, 'others: null' ignores all that it does not name"
        )


def _images(split: str, folders: CaseFolders, scan: LabelScan, classes: LabelClasses, reading: VolumeReading) -> CutVolumes:
    plan, volumes = reading.recipe, KeptVolumes(folders.splits[split], reading)
    if plan.patch is not None:
        return CutVolumes(volumes, scan, whole_volumes(scan, plan.patches if split == "train" else 1))
    places = all_slices(scan)
    if split == "train" and plan.empty < 1:
        places = thinned(places, _foreground(scan, classes), plan.empty)
        if not len(places):
            raise UsageError("no training slice has a foreground, and data.volumes.empty keeps none without; raise it")
    return CutVolumes(volumes, scan, places)


def _foreground(scan: LabelScan, classes: LabelClasses) -> np.ndarray:
    """Return which slices hold a class other than the first: (S,) bool."""
    found = classes.of(scan)
    return scan.counts[:, (found != 0) & (found != IGNORE)].sum(1) > 0


def _input(recipe: DataRecipe, scan: LabelScan, channels: int) -> InputSpec:
    """Return the input, whose values are the network's already; training crops as large as half of the slices are, up to the largest."""
    side = crop_side(int(np.median(scan.sides.min(1))))
    return replace(input_spec(recipe, size=side, mean=(0.0,) * channels, std=(1.0,) * channels), range=None)


def _notes(folders: CaseFolders, scans: Mapping[str, LabelScan], classes: LabelClasses, train: CutVolumes) -> list[str]:
    """Return what is easily overlooked."""
    counts = ", ".join(f"{len(cases)} volumes for {split}" for split, cases in folders.splits.items())
    notes = [f"{folders.where}: {counts}; {len(train)} training images, {len(classes.names)} classes"]
    for split, scan in scans.items():
        there = set(classes.of(scan)[scan.counts.any(0)].tolist())
        if empty := [name for index, name in enumerate(classes.names) if index not in there]:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            notes.append(f"{len(empty)} of {len(classes.names)} classes have no voxel for {split}: {', '.join(empty[:5])}{more}")
    return notes
