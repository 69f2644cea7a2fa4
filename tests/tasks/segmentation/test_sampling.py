"""Points of crops and what is sampled there, against torchvision's v2 transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from senet.spec import InputSpec
from senet.tasks.segmentation.crops import Window, elastic_shift
from senet.tasks.segmentation.sampling import sampled_image, sampled_mask

SIDE = 32
SPEC = InputSpec(size=SIDE, resize=SIDE, channels=1, mean=(0.0,), std=(1.0,))


def image_and_mask() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((SIDE, SIDE, 1), np.float32), random.integers(5, size=(SIDE, SIDE)).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 17.0, -120.0])
@pytest.mark.parametrize("scale", [1.0, 1.37])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_and_enlarged_crop_is_torchvisions(angle, scale, mirrored):
    image, mask = image_and_mask()
    shown = SIDE / scale
    window = Window((SIDE - shown) / 2, (SIDE - shown) / 2, shown, shown, angle, mirrored)
    ours = sampled_image(image, window.points(SIDE), window.step(SIDE), SPEC)[0]
    classes = torch.from_numpy(sampled_mask(mask, window.points(SIDE)))

    def theirs(values: np.ndarray, interpolation: InterpolationMode) -> torch.Tensor:
        moved = v2.affine(torch.from_numpy(values)[None], -angle, [0, 0], scale, [0.0, 0.0], interpolation, fill=[255.0])
        return (v2.horizontal_flip(moved) if mirrored else moved)[0]

    inside = theirs(np.ones((SIDE, SIDE), np.float32), InterpolationMode.BILINEAR) == 1  # both blend with nothing there
    torch.testing.assert_close(ours[inside], theirs(image[:, :, 0], InterpolationMode.BILINEAR)[inside], rtol=0, atol=2e-5)
    nearest = theirs(mask, InterpolationMode.NEAREST)
    tie = classes != nearest  # where a point lies on the border of two pixels, rounding decides
    assert tie.float().mean() < 0.01


def test_an_elastic_crop_is_torchvisions():
    image, mask = image_and_mask()
    shift = elastic_shift((SIDE, SIDE), 3.0, 8, np.random.default_rng(1))
    points = Window(0, 0, SIDE, SIDE).points(SIDE) + shift
    displacement = torch.from_numpy(np.stack([shift[1], shift[0]], -1)[None] * 2 / SIDE).float()  # columns first, from -1 to 1
    inner = (points > 1).all(0) & (points < SIDE - 1).all(0)
    theirs = v2.elastic(torch.from_numpy(image[None, :, :, 0]), displacement, InterpolationMode.BILINEAR)[0].numpy()
    np.testing.assert_allclose(sampled_image(image, points, 1.0, SPEC)[0].numpy()[inner], theirs[inner], rtol=0, atol=2e-5)
    nearest = v2.elastic(torch.from_numpy(mask[None]), displacement, InterpolationMode.NEAREST)[0].numpy()
    assert (sampled_mask(mask, points) != nearest)[inner].mean() < 0.01
    assert np.abs(shift).max() <= 3


def test_pillows_images_and_arrays_are_sampled_alike():
    grey = (255 * image_and_mask()[0]).astype(np.uint8)
    window = Window(3.5, -4.0, 20.0, 25.0, 30.0)
    both = [
        sampled_image(image, window.points(SIDE), 1.0, SPEC) for image in (Image.fromarray(grey[:, :, 0]), grey.astype(np.float32) / 255)
    ]
    torch.testing.assert_close(*both, rtol=0, atol=1e-6)


def test_what_lies_outside_is_the_mean_and_ignored():
    image, mask = image_and_mask()
    points = Window(100, 100, SIDE, SIDE).points(SIDE)
    assert (sampled_image(image + 1, points, 1.0, SPEC) == 0).all()
    assert (sampled_mask(mask, points) == 255).all()
