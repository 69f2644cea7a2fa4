"""Image and mask move together under every augmentation, and batches hold images of one size or of several."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from senet.data.batch import Sample
from senet.data.masks import IGNORE
from senet.data.samplers import SampleKey, sample_random
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.preparation import MaskPreparation
from senet.tasks.segmentation.sampling import COARSEST

LEVELS = np.array([40, 120, 240], np.uint8)
"""Grey value by which an image shows each class."""


def spec(size: int) -> InputSpec:
    return InputSpec(size=size, resize=size, channels=1, mean=(0.0,), std=(1.0,))


def blobs(height: int, width: int, seed: int) -> np.ndarray:
    """Return a mask of three classes in patches of some pixels."""
    coarse = np.random.default_rng(seed).integers(3, size=(height // 6 + 1, width // 6 + 1), dtype=np.uint8)
    return coarse.repeat(6, 0).repeat(6, 1)[:height, :width]


DATA = st.builds(
    DataRecipe,
    crop=st.sampled_from(["none", "pad", "random_resized"]),
    pad=st.integers(0, 9),
    scale=st.sampled_from([(0.1, 1.0), (0.5, 0.5)]),
    flip=st.booleans(),
    rotation=st.sampled_from([0.0, 20.0, 180.0]),
    cutout=st.sampled_from([0, 5]),
)
PLAN = st.builds(
    SegmentationRecipe,
    foreground=st.sampled_from([0.0, 0.5, 1.0]),
    zoom=st.sampled_from([(1.0, 1.0), (0.6, 1.6)]),
    elastic=st.sampled_from([0.0, 3.0]),
    elastic_grid=st.sampled_from([4, 16]),
)


@settings(max_examples=150)
@given(DATA, PLAN, st.integers(1, 40), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32))
def test_image_and_mask_move_together(data, plan, size, height, width, seed):
    mask = blobs(height, width, seed)
    transform = MaskPreparation(plan).train_transform(data, spec(size))
    random = sample_random(seed, SampleKey(0, 0))
    image, moved = transform(Image.fromarray(LEVELS[mask]), mask, random)
    assert (image.shape, moved.shape, moved.dtype) == ((1, size, size), (size, size), torch.uint8)
    assert set(moved.unique().tolist()) <= {*np.unique(mask).tolist(), IGNORE}
    grey = 255 * image[0].numpy()
    assert (grey[moved.numpy() == IGNORE] == 0).all(), "outside, and in holes, is the mean"
    for label in (0, 2):  # the level of class 1 also lies between those of the others, where a pixel is interpolated
        pure = (np.abs(grey - LEVELS[label]) < 0.01) & (moved.numpy() != IGNORE)
        assert (moved.numpy()[pure] == label).all()
    again = transform(Image.fromarray(LEVELS[mask]), mask, sample_random(seed, SampleKey(0, 0)))
    assert torch.equal(image, again[0])
    assert torch.equal(moved, again[1])


@settings(max_examples=100)
@given(DATA, PLAN, st.integers(1, 40), st.integers(1, 250), st.booleans(), st.integers(0, 2**32))
def test_a_mask_shows_the_pixel_that_the_image_is_interpolated_around(data, plan, size, side, across, seed):
    """An image whose values are its rows, or columns, tells where it was looked at; the mask must not be more than half a pixel off."""
    places = np.arange(side, dtype=np.uint8)
    mask = np.broadcast_to(places[None] if across else places[:, None], (side, side))
    image = mask[:, :, None].astype(np.float32)
    transform = MaskPreparation(plan).train_transform(data, spec(size))
    seen, moved = (values.squeeze().numpy() for values in transform(image, mask, sample_random(seed, SampleKey(0, 0))))
    step = max(1.0, side / size if data.crop == "random_resized" else 1.0) / plan.zoom[0]  # at most
    inner = (moved > 2 * step) & (moved < side - 1 - 2 * step)  # at the image's edge, one made smaller is off by half a new pixel
    rounding = 0.1 if step > COARSEST else 0.001  # Pillow weighs whole pixels: a ramp made smaller is off by up to 0.07
    assert np.abs(seen - moved)[inner].max(initial=0) < 0.5 + rounding


@pytest.mark.parametrize("crop", ["none", "pad"])
def test_an_upright_crop_has_the_images_own_pixels(crop):
    mask = np.arange(30 * 40, dtype=np.uint32).reshape(30, 40)
    labels = (mask % 251).astype(np.uint8)
    transform = MaskPreparation(SegmentationRecipe()).train_transform(DataRecipe(crop=crop, pad=0, flip=True), spec(16))
    image, moved = transform(Image.fromarray(labels), labels, np.random.default_rng(0))
    assert torch.equal((255 * image[0]).round().to(torch.uint8), moved)
    assert any(
        (labels[top : top + 16, left : left + 16] == half).all()
        for top in range(15)
        for left in range(25)
        for half in (moved.numpy(), moved.numpy()[:, ::-1])
    )


def test_values_change_and_masks_do_not():
    mask = blobs(32, 32, 0)
    plan = SegmentationRecipe(brightness=0.2, contrast=0.3, gamma_correction=1.5, noise=0.1, blur=1.0)
    plain, changed = (
        MaskPreparation(each).train_transform(DataRecipe(), spec(32))(Image.fromarray(LEVELS[mask]), mask, np.random.default_rng(0))
        for each in (SegmentationRecipe(), plan)
    )
    assert torch.equal(plain[1], changed[1])
    assert not torch.equal(plain[0], changed[0])


def test_foreground_is_in_every_crop_that_is_laid_over_it():
    mask = np.zeros((200, 200), np.uint8)
    mask[148:153, 28:33] = 1
    transform = MaskPreparation(SegmentationRecipe(foreground=1.0)).train_transform(DataRecipe(crop="pad", pad=0, rotation=30), spec(32))
    crops = [transform(Image.fromarray(mask), mask, np.random.default_rng(seed))[1] for seed in range(20)]
    assert all((crop == 1).any() for crop in crops)
    places = {tuple(crop.eq(1).nonzero()[0].tolist()) for crop in crops}
    assert len(places) > 10, "anywhere in the crop"


def test_arrays_enter_as_they_are():
    mask = blobs(20, 20, 3)
    image = np.random.default_rng(0).normal(size=(20, 20, 1)).astype(np.float32)
    preparation = MaskPreparation(SegmentationRecipe())
    values, _ = preparation.eval_transform(spec(16), Views())(image, mask)
    assert (values[0].numpy() == image[:, :, 0]).all()
    assert preparation.train_transform(DataRecipe(rotation=10), spec(16))(image, mask, np.random.default_rng(0))[0].shape == (1, 16, 16)


def test_images_are_made_smaller_with_antialiasing():
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    transform = MaskPreparation(SegmentationRecipe(zoom=(0.125, 0.125))).train_transform(DataRecipe(), spec(32))
    image, _ = transform(Image.fromarray(stripes), stripes // 255, np.random.default_rng(0))
    assert (image - 0.5).abs().max() < 0.05


def test_batches_hold_images_of_one_size_or_several():
    preparation = MaskPreparation(SegmentationRecipe())
    samples = [Sample(torch.zeros(1, side, 4), torch.zeros(side, 4, dtype=torch.uint8), [], side) for side in (4, 6)]
    mixed = preparation.collate([*samples, Sample(None, None, ["bad"])]).to(torch.device("cpu"))
    assert [tuple(image.shape) for image in mixed.images] == [(1, 4, 4), (1, 6, 4)]
    assert (len(mixed.images), mixed.corrupt, list(mixed.indices)) == (2, ["bad"], [4, 6])
    assert preparation.collate([samples[0]] * 3).images.shape == (3, 1, 4, 4)
    assert len(preparation.collate([Sample(None, None, ["bad"])]).images) == 0


def test_other_views_are_refused():
    with pytest.raises(UsageError, match="whole images"):
        MaskPreparation(SegmentationRecipe()).eval_transform(spec(8), Views("ten"))
