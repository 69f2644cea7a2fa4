"""Slices of volumes as images with masks, and patches of volumes for networks of three dimensions."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from senet.data.volumes.label_scan import LabelScan
from senet.data.volumes.reading import KeptVolumes
from senet.text import printable


@dataclass(frozen=True)
class CutMasks:
    """Masks of slices or of whole volumes, each cut when it is asked for.

    Args:
        volumes: where they come from.
        places: (N, 2) int64, of each its case and its slice; -1 for the whole volume.
    """

    volumes: KeptVolumes
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return mask `index`: (H, W) uint8, or (D, H, W) of a whole volume."""
        case, place = self.places[index].tolist()
        mask = self.volumes.mask(case)
        return mask if place < 0 else mask[place]


class CutVolumes:
    """Images out of volumes: slices with their neighbours as channels, or whole volumes.

    Args:
        volumes: where they come from.
        scan: what the labels of these volumes hold.
        places: (N, 2) int64, of each image its case and its slice; -1 for the whole volume.
    """

    in_memory = False

    def __init__(self, volumes: KeptVolumes, scan: LabelScan, places: np.ndarray) -> None:
        self.volumes, self.scan, self.places = volumes, scan, places
        self.targets = CutMasks(volumes, places)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def groups(self) -> np.ndarray:
        """Number of the volume that each image is of, (N,) int64."""
        return self.places[:, 0]

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the volumes."""
        return [case.name for case in self.volumes.cases]

    def read(self, index: int) -> np.ndarray:
        """Return image `index`: (H, W, C) float32, or (D, H, W, C) of a whole volume; beyond the ends the outermost slice is repeated.

        Raises:
            UnreadableImageError: if a file of its volume is damaged.
        """
        case, place = self.places[index].tolist()
        volume = self.volumes.image(case)
        return volume if place < 0 else neighbouring_slices(volume, place, self.volumes.reading.recipe.slices)

    def class_counts(self, classes: int) -> np.ndarray:
        """Return how many voxels of each class each image's mask has, (N, classes) int64, as the labels were counted."""
        counts = np.zeros((len(self.scan.counts), classes), np.int64)
        for value, column in zip(self.scan.values.tolist(), self.scan.counts.T, strict=True):
            index = self.volumes.reading.masks.class_of(value)
            if index is not None and index < classes:
                counts[:, index] += column
        firsts = np.cumsum(self.scan.slices) - self.scan.slices
        cases, places = self.places.T
        whole = np.add.reduceat(counts, firsts, 0)[cases]
        return np.where(places[:, None] < 0, whole, counts[firsts[cases] + places.clip(0)])

    def describe(self, index: int) -> str:
        """Return the name of the volume and the number of the slice."""
        case, place = self.places[index].tolist()
        name = printable(self.volumes.cases[case].name, None)
        return name if place < 0 else f"{name} {self.volumes.reading.recipe.plane} {place}"

    def fingerprint(self) -> str:
        """Return what tells these images from others: names and sizes of their volumes' files, what the labels hold, and what is cut."""
        files = [
            (case.name, [(header.path.name, header.shape, header.path.stat().st_size) for header in case.channels])
            for case in self.volumes.cases
        ]
        digest = hashlib.sha256(repr((files, self.scan.checksums.tolist())).encode())
        digest.update(np.ascontiguousarray(self.places, np.int64).tobytes())
        return digest.hexdigest()


def neighbouring_slices(volume: np.ndarray, place: int, count: int) -> np.ndarray:
    """Return a slice and its neighbours as channels: (H, W, count x C) of a volume (D, H, W, C)."""
    if count == 1:
        return volume[place]
    near = volume[np.arange(place - count // 2, place + count // 2 + 1).clip(0, len(volume) - 1)]
    return np.moveaxis(near, 0, 2).reshape(*volume.shape[1:3], -1)


def all_slices(scan: LabelScan) -> np.ndarray:
    """Return case and number of each slice: (S, 2) int64."""
    cases = np.repeat(np.arange(len(scan.slices)), scan.slices)
    return np.stack([cases, np.concatenate([np.arange(count) for count in scan.slices.tolist()])], 1)


def thinned(places: np.ndarray, foreground: np.ndarray, share: float) -> np.ndarray:
    """Keep the slices with foreground and, evenly spread, a share of the others.

    Args:
        places: (S, 2) slices.
        foreground: (S,) bool, which have any.
        share: of the others that are kept.
    """
    others = np.flatnonzero(~foreground)
    kept = others[np.floor(np.arange(len(others)) * share) < np.floor((np.arange(len(others)) + 1) * share)]
    chosen = foreground.copy()
    chosen[kept] = True
    return places[chosen]


def whole_volumes(scan: LabelScan, times: int = 1) -> np.ndarray:
    """Return each volume as a whole, so many times one after the other: (V x times, 2) int64."""
    cases = np.repeat(np.arange(len(scan.slices)), times)
    return np.stack([cases, np.full(len(cases), -1)], 1)
