"""Patches of volumes: image and mask are cut alike, anywhere or around the foreground, and padded where a volume is short."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from senet.data.masks import IGNORE
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe, VolumeRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.patches import PatchTransform, cut_patch, draw_corner

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


@pytest.mark.parametrize(("data", "plan"), [({"rotation": 9.0}, {}), ({"crop": "pad"}, {}), ({}, {"elastic": 3.0}), ({}, {"blur": 1.0})])
def test_what_patches_do_not_take_is_refused(data: dict, plan: dict) -> None:
    with pytest.raises(UsageError, match="does not apply to patches of volumes"):
        PatchTransform(DataRecipe(volumes=VolumeRecipe(patch=(4, 4, 4)), **data), SegmentationRecipe(**plan), SPEC)
