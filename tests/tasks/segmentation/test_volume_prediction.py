"""Probabilities of slices come back to a volume's own grid linearly, and classes are chosen there."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from data.volumes.made_volumes import turned_affine, write_volume
from senet.data.volumes.grid import VoxelGrid, resample_nearest
from senet.data.volumes.nifti import read_header
from senet.recipe import SegmentationRecipe
from senet.tasks.segmentation.task import Segmentation
from senet.tasks.segmentation.volume_prediction import likeliest_classes


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("shape", [(7, 5, 4), (3, 11, 4), (1, 1, 9), (6, 8, 5), (13, 17, 9)])
def test_classes_are_the_likeliest_of_what_scipy_interpolates(shape: tuple[int, int, int]) -> None:
    scores = np.random.default_rng(0).random((4, 6, 8, 5))
    places = [((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1) for old, new in zip(scores.shape[1:], shape, strict=True)]
    points = np.meshgrid(*places, indexing="ij")
    wanted = np.stack([map_coordinates(one, points, order=1) for one in scores])
    found = likeliest_classes((scores[:, place] for place in range(6)), 6, shape)
    best, second = -np.partition(-wanted, 1, 0)[:2]
    clear = best - second > 1e-6  # shares of slices are float32
    assert clear.mean() > 0.99
    assert (found.dtype, found.shape) == (np.uint8, shape)
    assert np.array_equal(found[clear], wanted.argmax(0)[clear])


def test_the_probabilities_of_a_whole_volume_are_never_held() -> None:
    tracemalloc.start()
    likeliest_classes((np.full((8, 64, 64), place, np.float32) for place in range(50)), 50, (60, 64, 64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 8 * 64 * 64 * 4, "of 50 slices"


def test_a_smooth_surface_stays_smooth() -> None:
    """A ball whose probability falls off over two voxels, predicted at half the resolution: against its labels brought back."""
    fine = np.stack(np.meshgrid(*(np.arange(40) + 0.5,) * 3, indexing="ij"))
    coarse = np.stack(np.meshgrid(*(np.arange(20) * 2 + 1.0,) * 3, indexing="ij"))
    truth = np.linalg.norm(fine - 20.3, axis=0) < 13
    inside = 1 / (1 + np.exp((np.linalg.norm(coarse - 20.3, axis=0) - 13) / 2))
    scores = np.stack([1 - inside, inside]).astype(np.float32)
    found = likeliest_classes((scores[:, place] for place in range(20)), 20, truth.shape)
    nearest = resample_nearest(scores.argmax(0), truth.shape)
    assert dice(found == 1, truth) > 0.99 > 0.97 > dice(nearest == 1, truth)


@pytest.mark.parametrize("spacing", [None, (1.3, 1.7, 2.0)])
@pytest.mark.parametrize("whole", [False, True])
def test_slices_and_whole_volumes_are_predicted_on_the_grid_of_the_file(spacing, whole: bool, tmp_path: Path) -> None:
    header = read_header(write_volume(tmp_path / "a.nii", np.zeros((9, 8, 7), np.uint8), turned_affine((1.0, 1.0, 1.0))), 10**6)
    grid = VoxelGrid.of(header, "coronal", spacing)
    logs = torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    outputs = [logs] if whole else [logs[:, :, place] for place in range(grid.shape[0])]
    found = Segmentation(SegmentationRecipe()).predict_volume(outputs, ("a", "b", "c"), header, grid, grid.shape[0] // 2)
    sides = zip(grid.shape, grid.oriented, strict=True)
    points = np.meshgrid(*(((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1) for old, new in sides), indexing="ij")
    wanted = np.stack([map_coordinates(one, points, order=1) for one in logs[0].exp().double().numpy()])
    assert found.labels.shape == (9, 8, 7)
    assert np.mean(grid.restore(wanted.argmax(0).astype(np.uint8)) == found.labels) > 0.995, "float32 decides between near equals"
    assert np.array_equal(found.shown.mask, logs[0, :, grid.shape[0] // 2].argmax(0).numpy())
    if spacing is None:
        assert np.array_equal(grid.labels(found.labels), logs[0].argmax(0).numpy())
