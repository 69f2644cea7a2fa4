"""One look at all labels of a set of volumes: which values each slice holds; kept for the next time."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from rich.progress import Progress

from senet.data.kept import Arrays, kept_arrays
from senet.data.masks import distinct
from senet.data.volumes.cases import Case
from senet.data.volumes.grid import VoxelGrid
from senet.data.volumes.nifti import read_labels
from senet.errors import UsageError
from senet.recipe import VolumeRecipe
from senet.terminal import Terminal
from senet.text import printable

MOST_LABEL_VALUES = 1024
"""Different values that the labels of a set may have; what has more is no label volume."""


@dataclass(frozen=True)
class LabelScan:
    """Values of the labels of V volumes, on the grid in which they are cut.

    Args:
        values: (K,) int64, those that occur, sorted.
        counts: (S, K) int64, voxels of each value in each slice, all slices of the first volume first.
        slices: (V,) int64, slices of each volume.
        sides: (V, 2) int64, rows and columns of its slices.
        checksums: (V,) uint32, of its labels as they are stored.
    """

    values: np.ndarray
    counts: np.ndarray
    slices: np.ndarray
    sides: np.ndarray
    checksums: np.ndarray

    def volumes_with(self, place: int) -> np.ndarray:
        """Return which volumes hold the value at a place of `values`."""
        volume = np.repeat(np.arange(len(self.slices)), self.slices)
        return np.unique(volume[self.counts[:, place] > 0])


LABEL_SCAN_LIKE = {"values": "i", "counts": "i", "slices": "i", "sides": "i", "checksums": "u"}


def scan_labels(cases: Sequence[Case], recipe: VolumeRecipe) -> LabelScan:
    """Look at the labels of all cases, unless that was done before and neither sizes nor times of their files have changed.

    Raises:
        UsageError: if labels cannot be read, are no whole numbers or negative, or have more than `MOST_LABEL_VALUES` values.
    """
    headers = [case.labels for case in cases if case.labels is not None]
    assert len(headers) == len(cases), "volumes without labels are for prediction alone"
    facts = [(str(header.path.resolve()), (found := header.path.stat()).st_size, found.st_mtime_ns) for header in headers]
    grids = [case.channels[0].affine.tolist() for case in cases]
    digest = hashlib.sha256(repr((facts, grids, recipe.plane, recipe.spacing)).encode()).hexdigest()

    def look() -> Arrays:
        terminal = Terminal(stderr=True)
        with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
            return _scanned(bar.track(cases, description="labels of volumes"), recipe)

    return LabelScan(**kept_arrays(f"volumes-{digest[:32]}", LABEL_SCAN_LIKE, look))


def _scanned(cases: Iterable[Case], recipe: VolumeRecipe) -> Arrays:
    found: list[dict[int, np.ndarray]] = []
    sides, checksums, problems, values = [], [], [], set()
    for case in cases:
        assert case.labels is not None
        try:
            labels = read_labels(case.labels)
            if labels.min() < 0:
                raise ValueError(f"has negative labels, down to {labels.min()}")
        except ValueError as error:
            problems.append(f"{printable(case.labels.path.name)} {error}")
            continue
        laid = VoxelGrid.of(case.channels[0], recipe.plane, recipe.spacing).labels(labels)  # where the slices are cut
        by_slice = _counts(laid)
        values |= by_slice.keys()
        if len(values) > MOST_LABEL_VALUES:
            raise UsageError(
                f"the labels of the volumes up to {printable(case.labels.path.name)} have more than {MOST_LABEL_VALUES} values; "
                "are they images?"
            )
        found.append(by_slice)
        sides.append(laid.shape)
        checksums.append(crc32(np.ascontiguousarray(labels).tobytes()))
    if problems:
        raise UsageError(f"{len(problems)} label volumes cannot be read: {'; '.join(problems[:3])}{'; ...' if len(problems) > 3 else ''}")
    ordered = sorted(values)
    empty = [np.zeros(shape[0], np.int64) for shape in sides]
    columns = [np.concatenate([one.get(value, none) for one, none in zip(found, empty, strict=True)]) for value in ordered]
    shapes = np.array(sides, np.int64)
    return {
        "values": np.array(ordered, np.int64),
        "counts": np.stack(columns, 1),
        "slices": shapes[:, 0],
        "sides": shapes[:, 1:],
        "checksums": np.array(checksums, np.uint32),
    }


def _counts(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Return value -> how many voxels of each slice (S, H, W) have it; of an image, with too many values, of the first ones alone."""
    found: dict[int, np.ndarray] = {}
    for place, part in enumerate(labels):  # one by one: the indices of a whole volume would take eight times its memory
        for value, count in zip(*(numbers.tolist() for numbers in distinct(part)), strict=True):
            found.setdefault(value, np.zeros(len(labels), np.int64))[place] = count
        if len(found) > MOST_LABEL_VALUES:
            break
    return found
