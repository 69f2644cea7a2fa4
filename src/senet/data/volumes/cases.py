"""Which volumes a folder holds: the files of each case, its labels, and whether it is trained on or held out."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from senet.data.image_tree import few, sub_folders
from senet.data.mask_layout import SPLIT_NAMES, first_folders, held_out
from senet.data.volumes.grid import lies_apart
from senet.data.volumes.label_names import label_names
from senet.data.volumes.nifti import VolumeHeader, is_volume, read_header, stem_of
from senet.errors import UsageError
from senet.text import printable

VOLUME_FOLDERS = (
    ("imagesTr", "labelsTr"),
    *((images, labels) for images in ("images", "image") for labels in ("labels", "masks", "label", "segmentations")),
)
"""Folders of images and of labels, of which the first that are there are taken."""

SPLIT_FOLDERS = (
    *((f"{{split}}/{images}", f"{{split}}/{labels}") for images, labels in VOLUME_FOLDERS),
    *((f"{images}/{{split}}", f"{labels}/{{split}}") for images, labels in VOLUME_FOLDERS[1:]),
)
"""Folders of the images and of the labels of a split, which may have each of `SPLIT_NAMES`."""

CHANNEL = re.compile(r"(.+)_(\d{4})")
"""Name of one channel's file of a case: nnU-Net's CASE_0000."""

VOLUMES_LISTED = 3
"""How many files or cases a message names."""

EXPECTED_VOLUMES = (
    "it must hold imagesTr and labelsTr (nnU-Net's), images and labels, or those in train and in val or divided into them, with files .nii "
    "or .nii.gz of the same names in both; of several channels, NAME_0000, NAME_0001, ... beside the labels NAME"
)


@dataclass(frozen=True)
class Case:
    """One volume: its channels and its labels, which lie on one grid.

    Args:
        name: of the labels' file, without suffix.
        channels: headers of the images, one a channel.
        labels: header of the label volume; None where there is none to be had.
    """

    name: str
    channels: tuple[VolumeHeader, ...]
    labels: VolumeHeader | None = None


@dataclass(frozen=True)
class CaseFolders:
    """Cases of a root, and what is known of all of them.

    Args:
        splits: "train" and "val" -> cases.
        names: value of a label -> its name; empty where nothing names them.
        where: how it was found out which case is in which split, in words.
    """

    splits: Mapping[str, tuple[Case, ...]]
    names: Mapping[int, str]
    where: str


def find_cases(root: Path, val: Sequence[str] | None, val_share: float, max_voxels: int) -> CaseFolders:
    """Find the cases of a folder and check the headers of all their files.

    Args:
        root: the folder.
        val: names of the cases that are held out; None = those that the folder says, else a share of them.
        val_share: that share.
        max_voxels: most voxels of a file.

    Raises:
        UsageError: if no layout is recognised, files lack their partner, headers cannot be believed, or images and labels lie apart.
    """
    folders, single = _split_folders(root), first_folders(root, VOLUME_FOLDERS)
    if single is not None and (not folders or _holds_volumes(root, single)):
        cases = _cases(root, single, max_voxels)
        splits, how = _split(root, cases, val, val_share)
        return CaseFolders(splits, label_names(root), f"{single[0]} with {single[1]}, {how}")
    if not folders:
        there = ", ".join(printable(name) for name in sub_folders(root)[:10])
        raise UsageError(f"{root}: no volumes are recognised; {EXPECTED_VOLUMES}; it has: {there or 'no folders'}")
    if val is not None:
        raise UsageError(f"{root} has folders for training and validation; leave out data.volumes.val")
    splits = {split: tuple(_cases(root, found, max_voxels)) for split, found in folders.items()}
    if both := {case.name for case in splits["train"]} & {case.name for case in splits["val"]}:
        raise UsageError(f"{root}: {len(both)} volumes are for training and for validation, such as {printable(min(both))}; rename one")
    return CaseFolders(splits, label_names(root), " and ".join(f"{images} with {labels}" for images, labels in folders.values()))


def has_volumes(root: Path) -> bool:
    """Return whether a folder has volumes in a known layout, by the names of its files."""
    single, folders = first_folders(root, VOLUME_FOLDERS), _split_folders(root)
    return (single is not None and _holds_volumes(root, single)) or (
        bool(folders) and all(_holds_volumes(root, found) for found in folders.values())
    )


def common_channels(cases: Sequence[Case]) -> int:
    """Return how many channels all cases have.

    Raises:
        UsageError: if they differ.
    """
    counts = {len(case.channels): case for case in cases}
    if len(counts) > 1:
        said = ", ".join(f"{printable(case.name)} {count}" for count, case in sorted(counts.items()))
        raise UsageError(f"volumes have different numbers of channels: {said}")
    return next(iter(counts))


def read_case(name: str, paths: Sequence[Path], labels: Path | None, max_voxels: int) -> Case:
    """Read the headers of one case.

    Raises:
        ValueError: if one cannot be believed, or they lie apart; the message names the file.
    """
    headers = []
    for path in [*paths, *([] if labels is None else [labels])]:
        try:
            headers.append(read_header(path, max_voxels))
        except (ValueError, OSError) as error:
            raise ValueError(f"{printable(path.name)} {error}") from error
        if apart := lies_apart(headers[0], headers[-1]):
            raise ValueError(f"{printable(path.name)} does not lie where {printable(headers[0].path.name)} does: {apart}")
    return Case(name, tuple(headers[: len(paths)]), None if labels is None else headers[-1])


def _split_folders(root: Path) -> dict[str, tuple[str, str]]:
    """Return the folders of images and of labels of each split; none unless both splits have them."""
    found = {
        split: first_folders(root, ((a.format(split=name), b.format(split=name)) for name in names for a, b in SPLIT_FOLDERS))
        for split, names in SPLIT_NAMES.items()
    }
    known = {split: folders for split, folders in found.items() if folders is not None}
    return known if len(known) == len(found) else {}


def _holds_volumes(root: Path, folders: tuple[str, str]) -> bool:
    return any(map(is_volume, os.listdir(root / folders[0])))  # noqa: PTH208 - names, which may be many


def _cases(root: Path, pair: tuple[str, str], max_voxels: int) -> list[Case]:
    images, labels = pair
    files, masks = _volumes(root / images), _volumes(root / labels)
    channels: dict[str, dict[int, Path]] = {}
    for stem, path in files.items():
        of_channel = CHANNEL.fullmatch(stem)
        name, number = (of_channel[1], int(of_channel[2])) if of_channel and stem not in masks else (stem, 0)
        channels.setdefault(name, {})[number] = path
    alone = {
        f"images without labels in {labels}": sorted(channels.keys() - masks.keys()),
        f"labels without an image in {images}": sorted(masks.keys() - channels.keys()),
        "volumes whose channels are not numbered 0000, 0001, ...": sorted(
            name for name, found in channels.items() if sorted(found) != list(range(len(found)))
        ),
    }
    if any(alone.values()):
        said = "; ".join(f"{len(names)} {what}: {few(names)}" for what, names in alone.items() if names)
        raise UsageError(f"{root}: {said}; {EXPECTED_VOLUMES}")
    if not channels:
        raise UsageError(f"{root / images} has no volumes; {EXPECTED_VOLUMES}")
    cases, problems = [], []
    for name in sorted(channels):
        try:
            cases.append(read_case(name, [path for _, path in sorted(channels[name].items())], masks[name], max_voxels))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - VOLUMES_LISTED} more" if len(problems) > VOLUMES_LISTED else ""
        raise UsageError(
            f"{root}: {len(problems)} of {len(channels)} volumes cannot be used: {'; '.join(problems[:VOLUMES_LISTED])}{more}; "
            "repair them, or move them away"
        )
    return cases


def _volumes(folder: Path) -> dict[str, Path]:
    """Return the volumes in a folder by their names without suffix."""
    found: dict[str, Path] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, of which most may be no volumes
        if name.startswith(".") or not is_volume(name):
            continue
        stem = stem_of(name)
        if stem in found:
            raise UsageError(f"{folder}: {printable(found[stem].name)} and {printable(name)} have the same name; remove one")
        found[stem] = folder / name
    return found


def _split(root: Path, cases: Sequence[Case], val: Sequence[str] | None, share: float) -> tuple[dict[str, tuple[Case, ...]], str]:
    names = [case.name for case in cases]
    if val is None:
        held, how = {names[place] for place in held_out(names, share)}, f"data.val_share {share:g} is held out"
    else:
        held, how = set(val), "data.volumes.val is held out"
        if missing := sorted(held - set(names)):
            raise UsageError(f"{root}: data.volumes.val names {len(missing)} volumes that are not there: {few(missing)}")
    splits = {
        "train": tuple(case for case in cases if case.name not in held),
        "val": tuple(case for case in cases if case.name in held),
    }
    for split, found in splits.items():
        if not found:
            raise UsageError(f"{root}: of {len(cases)} volumes none is for {split} ({how})")
    return splits, how
