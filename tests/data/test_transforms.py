from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from senet.data.samplers import SampleKey, sample_random
from senet.data.transforms import (
    centre_crop,
    cutout,
    eval_transform,
    random_resized_crop,
    random_window,
    resize_shorter,
    train_transform,
)
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.spec import InputSpec

SPEC = InputSpec(size=64, resize=80, channels=3, mean=(0.48, 0.45, 0.4), std=(0.23, 0.22, 0.225))
TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(SPEC.mean, SPEC.std)]


def noise(width, height, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def coordinates(width, height):
    """Return an image whose red is x and whose green is y, in pixels."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))


def draws(count):
    return [sample_random(0, SampleKey(0, image)) for image in range(count)]


@pytest.mark.parametrize("size", [(80, 80), (81, 80), (200, 131), (131, 200), (37, 41), (64, 301)])
def test_evaluation_equals_torchvision(size):
    image = noise(*size)
    expected = v2.Compose([v2.Resize(80), v2.CenterCrop(64), *TENSOR])(image)
    torch.testing.assert_close(eval_transform(SPEC)(image), expected, rtol=0, atol=2e-6)


def test_ten_crops_equal_torchvision():
    image = noise(121, 90)
    views = v2.Compose([v2.Resize(80), v2.TenCrop(64)])(image)
    expected = torch.stack([v2.Compose(TENSOR)(view) for view in views])
    torch.testing.assert_close(eval_transform(SPEC, "ten")(image), expected, rtol=0, atol=2e-6)


def test_bgr_reverses_the_channels_and_has_mean_and_std_in_that_order():
    bgr = InputSpec(size=64, resize=80, channels=3, mean=SPEC.mean[::-1], std=SPEC.std[::-1], order="bgr")
    image = noise(100, 90)
    for crops in ("centre", "ten"):
        assert torch.equal(eval_transform(bgr, crops)(image), eval_transform(SPEC, crops)(image).flip(-3))
    assert torch.equal(train_transform(DataRecipe(), bgr)(image, draws(1)[0]), eval_transform(bgr)(image))
    caffe = InputSpec(size=64, resize=80, channels=3, mean=(104 / 255, 117 / 255, 123 / 255), std=(1 / 255,) * 3, order="bgr")
    blue_first = np.asarray(eval_transform(replace(caffe, mean=(0, 0, 0)))(image))
    pixels = np.asarray(centre_crop(resize_shorter(image, 80), 64), np.float32)
    np.testing.assert_allclose(blue_first, pixels.transpose(2, 0, 1)[::-1], atol=2e-5)
    np.testing.assert_allclose(np.asarray(eval_transform(caffe)(image)), blue_first - np.float32([[[104]], [[117]], [[123]]]), atol=5e-5)


def test_grey_images_have_no_order():
    grey = InputSpec(size=8, resize=8, channels=1, mean=(0.5,), std=(0.5,))
    image = noise(20, 20, "L")
    assert torch.equal(eval_transform(replace(grey, order="bgr"))(image), eval_transform(grey)(image))


def test_unknown_crops_are_an_error():
    with pytest.raises(UsageError, match=r"unknown crops 'center' \(did you mean 'centre'\?\)"):
        eval_transform(SPEC, "center")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_images_of_another_mode_become_rgb(mode):
    image = noise(80, 80, mode)
    assert torch.equal(eval_transform(SPEC)(image), eval_transform(SPEC)(image.convert("RGB")))


def test_training_without_augmentation_is_evaluation():
    image = noise(100, 90)
    assert torch.equal(train_transform(DataRecipe(), SPEC)(image, draws(1)[0]), eval_transform(SPEC)(image))


def test_training_tensor_is_contiguous_float32():
    x = train_transform(DataRecipe(crop="pad", flip=True, cutout=16), SPEC)(noise(64, 64), draws(1)[0])
    assert (x.shape, x.dtype, x.is_contiguous()) == ((3, 64, 64), torch.float32, True)


def test_flip_mirrors_half_of_the_images():
    image = noise(80, 80)
    plain = eval_transform(SPEC)(image)
    seen = [train_transform(DataRecipe(flip=True), SPEC)(image, random) for random in draws(200)]
    flipped = sum(torch.equal(x, plain.flip(2)) for x in seen)
    assert flipped + sum(torch.equal(x, plain) for x in seen) == 200
    assert 75 < flipped < 125


def test_window_is_a_shift_that_fills_with_zeros():
    x = np.random.default_rng(0).random((2, 6, 5), np.float32) + 1
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    windows = {padded[:, top : top + 6, left : left + 5].tobytes() for top in range(5) for left in range(5)}
    assert {random_window(x, 2, random).tobytes() for random in draws(400)} == windows


def test_padding_has_the_mean_colour():
    spec = InputSpec(size=32, resize=32, channels=3, mean=SPEC.mean, std=SPEC.std)
    white = Image.new("RGB", (32, 32), "white")
    seen = torch.stack([train_transform(DataRecipe(crop="pad", pad=4), spec)(white, random) for random in draws(50)])
    assert set(seen[:, 0].unique().tolist()) == {0.0, seen[0, 0, 16, 16].item()}
    assert (seen[:, :, 4:28, 4:28] != 0).all()


@pytest.mark.parametrize("side", [1, 8, 15, 16])
def test_cutout_blanks_one_square_around_any_pixel(side):
    areas = set()
    centres = np.zeros((32, 32), int)
    for random in draws(500):
        x = np.ones((3, 32, 32), np.float32)
        cutout(x, side, random)
        rows, columns = np.nonzero(x[0] == 0)
        assert x.sum() == x.size - 3 * len(rows)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        assert side // 2 <= min(height, width)
        assert max(height, width) <= side
        areas.add(len(rows))
        centres += x[0] == 0
    assert max(areas) == side**2
    assert centres.min() > 0 or side == 1
    if side > 1:
        assert min(areas) < side**2  # it hangs over the edge now and then


def test_jitter_shifts_each_channel_by_its_own_amount():
    recipe, image = DataRecipe(jitter=20.0), noise(80, 80)
    plain = eval_transform(SPEC)(image)
    shifts = []
    for random in draws(100):
        difference = (train_transform(recipe, SPEC)(image, random) - plain) * torch.tensor(SPEC.std)[:, None, None] * 255
        torch.testing.assert_close(difference, difference.mean((1, 2), keepdim=True).expand_as(difference), rtol=0, atol=1e-3)
        shifts.append(difference.mean((1, 2)))
    values = torch.stack(shifts)
    assert values.abs().max() <= 20.001
    assert values.abs().max() > 18
    assert len(values.flatten().round(decimals=2).unique()) > 250


def test_rotation_turns_by_at_most_its_angle():
    spec = InputSpec(size=64, resize=64, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    bar = Image.fromarray(np.uint8(255 * (np.abs(np.arange(64) - 31.5) < 2))[:, None].repeat(64, 1))  # a horizontal bar
    slopes = []
    for random in draws(60):
        x = train_transform(DataRecipe(rotation=10.0), spec)(bar, random)[0]
        rows = (x * torch.arange(64)[:, None]).sum(0) / x.sum(0)
        slopes.append(np.degrees(np.arctan2((rows[54] - rows[10]).item(), 44)))
    assert max(slopes) <= 10.5
    assert min(slopes) >= -10.5
    assert max(slopes) > 7
    assert min(slopes) < -7


def test_random_resized_crop_keeps_to_its_ranges():
    image = coordinates(240, 200)
    shares, aspects = [], []
    for random in draws(300):
        crop = np.asarray(random_resized_crop(image, 100, (0.2, 0.6), (0.5, 2.0), random), float)
        width, height = ((crop[..., channel].max() - crop[..., channel].min()) for channel in (0, 1))
        shares.append(width * height / (240 * 200))
        aspects.append(width / height)
    assert 0.18 < min(shares) < 0.24
    assert 0.54 < max(shares) < 0.62
    assert 0.47 < min(aspects) < 0.56
    assert 1.8 < max(aspects) < 2.1


@pytest.mark.parametrize("size", [(8, 240), (240, 8)])
def test_random_resized_crop_of_a_sliver_is_its_centre(size):
    crop = np.asarray(random_resized_crop(coordinates(*size), 8, (0.9, 1.0), (3 / 4, 4 / 3), draws(1)[0]))
    axis = size.index(240)
    assert abs(crop[..., axis].mean() - 119.5) < 2
    assert np.ptp(crop[..., axis]) < 12


def test_random_resized_crop_equals_torchvision_on_the_whole_image():
    image = noise(90, 90)
    crop = random_resized_crop(image, 64, (1.0, 1.0), (1.0, 1.0), draws(1)[0])
    assert np.array_equal(np.asarray(crop), np.asarray(v2.functional.resized_crop(image, 0, 0, 90, 90, [64, 64])))
