"""Voxels go into the orientation and spacing of a plane and come back where they were."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from data.volumes.made_volumes import ball, turned_affine, write_volume
from senet.data.volumes.grid import PLANES, VoxelGrid, lies_apart, resample_linear, resample_nearest
from senet.data.volumes.nifti import read_header, read_labels, read_values

LETTERS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def millimetres(header, plane: str) -> np.ndarray:
    """Return where each voxel of a plane's grid lies: (slices, rows, columns, 3), by taking the file's coordinates through the grid."""
    where = np.stack(np.meshgrid(*map(np.arange, header.shape), indexing="ij"), -1) @ header.affine[:3, :3].T + header.affine[:3, 3]
    return np.stack([VoxelGrid.of(header, plane).labels(where[..., axis]) for axis in range(3)], -1)


@pytest.mark.parametrize("plane", PLANES)
def test_slices_rows_and_columns_count_towards_where_the_plane_says(plane: str, tmp_path: Path) -> None:
    header = read_header(write_volume(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), turned_affine()), 10**6)
    where = millimetres(header, plane)
    assert where.shape[:3] == VoxelGrid.of(header, plane).shape == VoxelGrid.of(header, plane).oriented
    for axis, letter in enumerate(PLANES[plane]):
        step = np.diff(where, axis=axis)[..., LETTERS[letter]]
        assert (step > 0).all() if letter in "RAS" else (step < 0).all()


def test_spacing_is_that_of_the_axes_and_resampling_keeps_the_millimetres(tmp_path: Path) -> None:
    header = read_header(write_volume(tmp_path / "a.nii", np.zeros((30, 20, 10), np.uint8), turned_affine((1.0, 2.0, 3.0))), 10**6)
    grid = VoxelGrid.of(header, "coronal")
    assert grid.stored_spacing == pytest.approx((3, 1, 2), abs=1e-5), "posterior 3 mm, inferior 1 mm, right 2 mm"
    assert grid.oriented == (10, 30, 20)
    finer = VoxelGrid.of(header, "coronal", (1.0, 1.5, 2.0))
    assert finer.shape == (20, 15, 40), "right 2 mm to 1, anterior 3 mm to 1.5, superior 1 mm to 2"


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("spacing", [None, (0.7, 1.1, 0.9)])
def test_labels_come_back_where_they_were(plane: str, spacing, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 9, (5, 7, 6)).astype(np.int16)
    header = read_header(write_volume(tmp_path / "a.nii", labels, turned_affine()), 10**6)
    grid = VoxelGrid.of(header, plane, spacing)
    there = grid.labels(read_labels(header))
    assert there.shape == grid.shape
    assert np.array_equal(grid.restore(there), labels)


def test_a_coarser_grid_gives_back_the_nearest_labels(tmp_path: Path) -> None:
    labels = ball((24, 20, 22), (12, 9, 10), 7).astype(np.uint8)
    grid = VoxelGrid.of(read_header(write_volume(tmp_path / "a.nii", labels, turned_affine((1, 1, 1))), 10**6), "axial", (2.0, 2.0, 2.0))
    back = grid.restore(grid.labels(labels))
    assert 2 * (back & labels).sum() / (back.sum() + labels.sum()) > 0.85


@pytest.mark.parametrize("shape", [(7, 5, 4), (3, 11, 4), (1, 1, 9), (6, 6, 6)])
def test_resampling_is_interpolation_between_centres(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(2).normal(size=(6, 8, 5))
    places = [((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1) for old, new in zip(values.shape, shape, strict=True)]
    points = np.meshgrid(*places, indexing="ij")
    assert np.abs(resample_linear(values, shape) - map_coordinates(values, points, order=1)).max() < 1e-12
    nearest = [np.floor((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(values.shape, shape, strict=True)]
    assert np.array_equal(resample_nearest(values, shape), values[np.ix_(*nearest)])


def test_orientation_is_that_of_nibabel(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(3, 4, 5)).astype(np.float32)
    path = write_volume(tmp_path / "a.nii", values, turned_affine())
    canonical = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32)
    header = read_header(path, 10**6)
    assert np.array_equal(VoxelGrid.of(header, "axial").image(read_values(header)), canonical[:, ::-1].transpose(2, 1, 0))
    assert np.array_equal(VoxelGrid.of(header, "sagittal").image(read_values(header)), canonical[:, :, ::-1].transpose(0, 2, 1))


def test_volumes_that_lie_apart_are_told(tmp_path: Path) -> None:
    shifted, scaled, rounded = (turned_affine() for _ in range(3))
    shifted[0, 3] += 1
    scaled[:3, 1] *= 1.25
    rounded[:3, :3] *= 1 + 1e-6
    first, *others = (
        read_header(write_volume(tmp_path / f"{name}.nii", np.zeros(shape, np.uint8), affine), 10**6)
        for name, shape, affine in [
            ("a", (3, 4, 5), turned_affine()),
            ("b", (3, 4, 5), shifted),
            ("c", (3, 4, 5), scaled),
            ("d", (3, 4, 6), turned_affine()),
            ("e", (3, 4, 5), rounded),
        ]
    )
    assert [lies_apart(first, other) for other in others] == [
        "their affines put corners 1 mm apart",
        "their affines put corners 1.5 mm apart",
        "3 x 4 x 5 voxels against 3 x 4 x 6",
        None,
    ]
