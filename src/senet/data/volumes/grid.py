"""Where the voxels of a volume lie: from the axes and spacing of its file to those of a plane, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from senet.data.volumes.nifti import VolumeHeader, import_nibabel

PLANES = {"axial": "SPR", "coronal": "AIR", "sagittal": "RIA"}
"""Plane -> towards where slices, rows and columns count: R right, A anterior, S superior, P posterior, I inferior."""

APART = 0.1
"""Share of a voxel by which the corners of an image and of its labels may lie apart: programs round affines each in their way."""


@dataclass(frozen=True)
class VoxelGrid:
    """VoxelGrid of a volume in the orientation of a plane: axes are permuted and reversed, never turned, and resampled if asked.

    Args:
        stored: shape of the file's voxels.
        affine: (4, 4) of the file.
        plane: one of `PLANES`.
        spacing: millimetres between voxels left to right, back to front and feet to head; None = as stored.
    """

    stored: tuple[int, int, int]
    affine: np.ndarray
    plane: str
    spacing: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, header: VolumeHeader, plane: str, spacing: tuple[float, float, float] | None = None) -> "VoxelGrid":
        """Return the grid of a file."""
        return cls(header.shape, header.affine, plane, spacing)

    @cached_property
    def oriented(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume before it is resampled."""
        shape = [0, 0, 0]
        for axis, (place, _) in enumerate(self._turn):
            shape[int(place)] = self.stored[axis]
        return shape[0], shape[1], shape[2]

    @cached_property
    def stored_spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns before the volume is resampled."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        by_place = {int(place): float(lengths[axis]) for axis, (place, _) in enumerate(self._turn)}
        return by_place[0], by_place[1], by_place[2]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns: those whose spacing is nearest to what was asked for, over the same millimetres."""
        if self.spacing is None:
            return self.oriented
        lengths = zip(self.oriented, self.stored_spacing, spacing_in(self.plane, self.spacing), strict=True)
        first, second, third = (max(1, round(count * have / want)) for count, have, want in lengths)
        return first, second, third

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return an image (slices, rows, columns) float32 of a file's values, resampled linearly."""
        return resample_linear(self._oriented(values), self.shape)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (slices, rows, columns) of a file's labels, each that of the nearest voxel."""
        return resample_nearest(self._oriented(labels), self.shape)

    def restore(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (slices, rows, columns) on the file's own grid, each that of the nearest voxel: what `labels` did, undone."""
        nibabel = import_nibabel()
        back = nibabel.orientations.ornt_transform(_codes(self.plane), self._start)
        return nibabel.orientations.apply_orientation(resample_nearest(labels, self.oriented), back)

    @cached_property
    def _start(self) -> np.ndarray:
        return import_nibabel().orientations.io_orientation(self.affine)

    @cached_property
    def _turn(self) -> np.ndarray:
        return import_nibabel().orientations.ornt_transform(self._start, _codes(self.plane))

    def _oriented(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(import_nibabel().orientations.apply_orientation(values, self._turn))


def _codes(plane: str) -> np.ndarray:
    return import_nibabel().orientations.axcodes2ornt(PLANES[plane])


def spacing_in(plane: str, spacing: Sequence[float]) -> tuple[float, float, float]:
    """Return the millimetres between slices, rows and columns of a plane for those left to right, back to front and feet to head."""
    first, second, third = (spacing["RASLPI".index(towards) % 3] for towards in PLANES[plane])
    return first, second, third


def lies_apart(one: VolumeHeader, other: VolumeHeader) -> str | None:
    """Return in words how the grid of a volume differs from that of another; None if voxel lies on voxel."""
    if one.shape != other.shape:
        return f"{' x '.join(map(str, one.shape))} voxels against {' x '.join(map(str, other.shape))}"
    corners = np.stack(np.meshgrid(*([0, length - 1] for length in one.shape), indexing="ij"), -1).reshape(-1, 3)
    shift = corners @ (one.affine - other.affine)[:3, :3].T + (one.affine - other.affine)[:3, 3]
    apart, voxel = float(np.linalg.norm(shift, axis=1).max()), float(np.linalg.norm(one.affine[:3, :3], axis=0).min())
    return f"their affines put corners {apart:.3g} mm apart" if apart > APART * voxel else None


def resample_linear(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample an array linearly along its first axes, edge on edge; beyond the outermost centres the value there goes on.

    Args:
        values: any number of axes; float32.
        shape: new lengths of its first axes.
    """
    for axis, length in enumerate(shape):
        if values.shape[axis] != length:
            below, above, share = neighbours(values.shape[axis], length)
            weight = share.astype(values.dtype).reshape(-1, *[1] * (values.ndim - axis - 1))
            low = values.take(below, axis)
            values = low + weight * (values.take(above, axis) - low)
    return values


def resample_nearest(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample an array along its first axes, edge on edge, each value that of the nearest centre."""
    for axis, length in enumerate(shape):
        if values.shape[axis] != length:
            values = values.take(np.floor(_places(values.shape[axis], length) + 0.5).astype(np.int64), axis)
    return values


def _places(old: int, new: int) -> np.ndarray:
    """Return where new centres lie between the old ones, which lie at 0, 1, ..., old - 1."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return between which two of the old centres each new one lies, and the share of the upper one: (new,) each."""
    places = _places(old, new).clip(0, old - 1)
    below = np.floor(places).astype(np.int64)
    return below, np.minimum(below + 1, old - 1), places - below
