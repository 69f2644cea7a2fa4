"""Patches of volumes: image and mask are cut alike, anywhere or around the foreground, and padded where a volume is short."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from senet.data.masks import IGNORE
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe, VolumeRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.crops import elastic_shift
from senet.tasks.segmentation.patches import PatchPlace, PatchTransform, cut_patch, draw_corner, draw_place, rotation
from senet.tasks.segmentation.sampling import sampled_mask

SPEC = InputSpec(8, 8, 1, (0.0,), (1.0,))
sides = st.tuples(*(st.integers(1, 9),) * 3)


def transform(patch: tuple[int, int, int], *, flip: bool = False, **plan: object) -> PatchTransform:
    return PatchTransform(DataRecipe(flip=flip, volumes=VolumeRecipe(patch=patch)), SegmentationRecipe(**plan), SPEC)


@given(shape=sides, patch=sides, flip=st.booleans(), foreground=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99))
def test_image_and_mask_are_cut_alike(shape, patch, flip, foreground, seed) -> None:
    mask = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)
    image = mask[..., None].astype(np.float32) + 1
    values, classes = transform(patch, flip=flip, foreground=foreground)(image, mask, np.random.default_rng(seed))
    assert values.shape == (1, *patch)
    assert classes.shape == patch
    inside = classes != IGNORE
    assert torch.equal(values[0][inside], classes[inside].float() + 1)
    assert (values[0][~inside] == 0).all()
    assert inside.sum() == np.prod([min(pair) for pair in zip(shape, patch, strict=True)])


def test_the_same_random_numbers_give_the_same_patch() -> None:
    mask = np.arange(6 * 7 * 8).reshape(6, 7, 8).astype(np.uint8)
    first, again, other = (
        transform((3, 4, 5), noise=0.3)(mask[..., None] * 1.0, mask, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("spot", [(0, 0, 0), (19, 9, 14), (7, 5, 3)])
def test_patches_over_the_foreground_hold_it(spot: tuple[int, int, int]) -> None:
    mask = np.zeros((20, 10, 15), np.uint8)
    mask[spot] = 1
    mask[3, 3, 3] = IGNORE
    random = np.random.default_rng(0)
    starts = [draw_corner(mask, (4, 4, 4), 1.0, random) for _ in range(50)]
    assert all((cut_patch(mask, start, (4, 4, 4), 9) == 1).any() for start in starts)
    assert all(0 <= place <= length - 4 for start in starts for place, length in zip(start, mask.shape, strict=True))
    share = np.mean([(cut_patch(mask, draw_corner(mask, (4, 4, 4), 0.5, random), (4, 4, 4), 9) == 1).any() for _ in range(400)])
    assert 0.4 < share < 0.65


def test_a_volume_without_foreground_is_cut_anywhere() -> None:
    starts = {draw_corner(np.zeros((6, 6, 6), np.uint8), (5, 6, 4), 1.0, np.random.default_rng(seed)) for seed in range(60)}
    assert starts == {(first, 0, third) for first in range(2) for third in range(3)}


MOVED = {"zoom": (0.7, 1.4), "elastic": 1.5, "elastic_grid": 4}


def moved(patch: tuple[int, int, int], spacing: tuple[float, float, float] | None = None, **plan: object) -> PatchTransform:
    data = DataRecipe(flip=True, rotation=40.0, volumes=VolumeRecipe(patch=patch, spacing=spacing, plane="coronal"))
    return PatchTransform(data, SegmentationRecipe(**MOVED | plan), replace(SPEC, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3))


def places_in(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume whose channels are the centre of each voxel, and a mask whose classes tell neighbours apart."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return (indices + 0.5).astype(np.float32), classes_at(indices)


def classes_at(indices: np.ndarray) -> np.ndarray:
    return ((indices * (1, 5, 7)).sum(-1) % 13).astype(np.uint8)


@settings(max_examples=40)
@given(
    shape=st.tuples(*(st.integers(2, 20),) * 3),
    patch=st.tuples(*(st.integers(1, 12),) * 3),
    foreground=st.sampled_from([0.0, 1.0]),
    spacing=st.sampled_from([None, (1.0, 3.0, 2.0)]),
    seed=st.integers(0, 99),
)
def test_image_and_mask_move_together(shape, patch, foreground, spacing, seed) -> None:
    image, mask = places_in(shape)
    values, classes = moved(patch, spacing, foreground=foreground)(image, mask, np.random.default_rng(seed))
    assert values.shape == (3, *patch)
    assert classes.shape == patch
    places, classes = np.moveaxis(values.numpy(), 0, -1), classes.numpy()
    outside = classes == IGNORE
    assert (places[outside] == 0).all()
    assert (places[~outside] > 0).all(), "what a mask knows has an image"
    inner = ((places > 0.51) & (places < np.array(shape) - 0.51)).all(-1)  # where the ramp is not cut off
    tie = (np.abs(places - np.rint(places)) < 1e-3).any(-1)  # rounding decides between two voxels
    clear = inner & ~tie & ~outside
    assert np.array_equal(classes[clear], classes_at(np.floor(places[clear]).astype(int)))


@pytest.mark.parametrize("spacing", [None, (1.0, 3.0, 2.0)])
def test_values_are_those_that_scipy_interpolates(spacing) -> None:
    numbers = np.random.default_rng(0)
    image, mask = numbers.random((15, 18, 21, 3), np.float32), np.ones((15, 18, 21), np.uint8)
    transform = moved((7, 8, 9), spacing, elastic=0.0)
    values, classes = transform(image, mask, np.random.default_rng(3))
    random = np.random.default_rng(3)
    mirrored = random.random() < 0.5
    points = draw_place(mask, transform.data, transform.plan, random).points((7, 8, 9))
    wanted = np.stack(
        [map_coordinates(image[..., channel], points - 0.5, order=1, mode="nearest", output=np.float64) for channel in range(3)]
    )
    inside = ((points >= 0) & (points < np.reshape(mask.shape, (3, 1, 1, 1)))).all(0)
    wanted, known = np.where(inside, wanted, 0), inside
    if mirrored:
        wanted, known = wanted[..., ::-1], known[..., ::-1]
    assert 0.3 < known.mean() <= 1
    np.testing.assert_allclose(values.numpy(), wanted, rtol=0, atol=5e-6)
    assert np.array_equal(classes.numpy() == 1, known)


def test_rotations_are_those_of_scipy_and_keep_millimetres() -> None:
    angles = np.array([20.0, -35.0, 77.0])
    np.testing.assert_allclose(rotation(angles), Rotation.from_euler("XYZ", angles, degrees=True).as_matrix(), rtol=0, atol=1e-12)
    voxel = np.array([3.0, 2.0, 1.0])  # coronal slices, rows and columns of 1 mm left to right, 3 back to front, 2 feet to head
    data = DataRecipe(rotation=90.0, volumes=VolumeRecipe(patch=(4, 4, 4), spacing=(1.0, 3.0, 2.0), plane="coronal"))
    turn = draw_place(np.zeros((9, 9, 9), np.uint8), data, SegmentationRecipe(), np.random.default_rng(0)).turn
    steps = np.random.default_rng(1).normal(size=(3, 50))
    before, after = np.linalg.norm(voxel[:, None] * steps, axis=0), np.linalg.norm(voxel[:, None] * (turn @ steps), axis=0)
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_moves_voxel_onto_voxel(axis: int) -> None:
    image, mask = places_in((6, 6, 6))
    turn = rotation(90.0 * np.eye(3)[axis])
    points = PatchPlace(np.full(3, 3.0), turn, 1.0).points((6, 6, 6))
    one, other = (axis + 1) % 3, (axis + 2) % 3
    np.testing.assert_allclose(np.moveaxis(points, 0, -1), np.rot90(image, -1, (one, other)), rtol=0, atol=1e-12)
    assert np.array_equal(sampled_mask(mask, points), np.rot90(mask, -1, (one, other)))


@pytest.mark.parametrize("sides", [(33, 20), (7, 12, 9)])
def test_elastic_displacements_are_the_spline_of_scipy(sides: tuple[int, ...]) -> None:
    found = elastic_shift(sides, 2.0, 5, np.random.default_rng(0))
    moves = np.random.default_rng(0).uniform(-2.0, 2.0, (len(sides), *(side // 5 + 4 for side in sides)))
    points = np.meshgrid(*((np.arange(side) + 0.5) / 5 + 1 for side in sides), indexing="ij")
    wanted = [map_coordinates(move, points, order=3, mode="nearest", prefilter=False) for move in moves]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert np.abs(found).max() <= 2


@pytest.mark.parametrize("spot", [(0, 0, 0), (19, 9, 14), (7, 5, 3)])
def test_turned_patches_over_the_foreground_hold_it(spot: tuple[int, int, int]) -> None:
    mask = np.zeros((20, 10, 15), np.uint8)
    mask[spot] = 1
    transform, random = moved((6, 6, 6), elastic=0.0, zoom=(1.3, 1.8), foreground=1.0), np.random.default_rng(0)
    image = np.zeros((*mask.shape, 3), np.float32)
    found = [(transform(image, mask, random)[1] == 1).any().item() for _ in range(40)]
    assert np.mean(found) > 0.9, "all but where the voxel lies on the patch's very edge, between two of its voxels"


def test_a_moved_patch_is_a_function_of_its_random_numbers() -> None:
    image, mask = places_in((12, 13, 14))
    torch.use_deterministic_algorithms(True)
    try:
        first, again, other = (moved((5, 6, 7), noise=0.2, blur=1.0)(image, mask, np.random.default_rng(seed)) for seed in (1, 1, 2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_patches_that_are_not_moved_are_the_volumes_very_voxels() -> None:
    image, mask = places_in((12, 13, 14))
    values, classes = transform_of_three((5, 6, 7))(image, mask, np.random.default_rng(1))
    start = (values[:, 0, 0, 0] - 0.5).int().tolist()
    part = tuple(slice(first, first + side) for first, side in zip(start, (5, 6, 7), strict=True))
    assert torch.equal(values, torch.from_numpy(np.moveaxis(image[part], -1, 0).copy()))
    assert np.array_equal(classes, mask[part])


def transform_of_three(patch: tuple[int, int, int]) -> PatchTransform:
    spec = replace(SPEC, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    return PatchTransform(DataRecipe(volumes=VolumeRecipe(patch=patch)), SegmentationRecipe(), spec)


@pytest.mark.parametrize(
    ("data", "plan", "message"),
    [
        ({"crop": "pad"}, {}, "data.crop does not apply to patches of volumes"),
        ({"cutout": 3}, {}, "data.cutout does not apply to patches of volumes"),
        ({"jitter": 3.0}, {}, "data.jitter does not apply to patches of volumes"),
        ({}, {"zoom": (0.5, 1.0)}, r"segmentation.zoom of patches must be at least 0.67, got 0.5"),
    ],
)
def test_what_patches_do_not_take_is_refused(data: dict, plan: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PatchTransform(DataRecipe(volumes=VolumeRecipe(patch=(4, 4, 4)), **data), SegmentationRecipe(**plan), SPEC)
