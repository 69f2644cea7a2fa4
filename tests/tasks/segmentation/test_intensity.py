"""Changes of values against torchvision's v2 transforms."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from senet.recipe import SegmentationRecipe
from senet.tasks.segmentation.intensity import blurred, change_intensity, gamma_corrected


def image() -> torch.Tensor:
    values = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    values[:, 0, 0], values[:, 0, 1] = 0, 1  # the range that torchvision takes for granted
    return values


@pytest.mark.parametrize("gamma", [0.6, 1.0, 1.7])
def test_gamma_is_torchvisions_over_a_channels_range(gamma):
    torch.testing.assert_close(gamma_corrected(image(), gamma), v2.adjust_gamma(image(), gamma))
    torch.testing.assert_close(gamma_corrected(4 * image() - 7, gamma), 4 * v2.adjust_gamma(image(), gamma) - 7, rtol=0, atol=1e-5)
    assert torch.equal(gamma_corrected(torch.full((1, 3, 3), 2.0), gamma), torch.full((1, 3, 3), 2.0)), "no range"


def test_a_blur_is_torchvisions():
    theirs = v2.gaussian_blur(image(), [7, 7], [1.0, 1.0])[:, 4:-4, 4:-4]  # they mirror about the last pixel, and not its edge
    torch.testing.assert_close(blurred(image(), 1.0)[:, 4:-4, 4:-4], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("field", ["brightness", "contrast", "noise", "blur", "gamma_correction"])
def test_each_change_is_drawn_from_the_samples_own_numbers(field):
    plan = SegmentationRecipe(**{field: 1.5 if field == "gamma_correction" else 0.5})
    first, again, other = (change_intensity(image(), plan, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == image().shape
    assert first.dtype == torch.float32


def test_brightness_and_contrast_keep_spread_and_mean():
    plain = image()
    brighter = change_intensity(plain, SegmentationRecipe(brightness=0.5), np.random.default_rng(0))
    torch.testing.assert_close(brighter.std(), plain.std())
    assert 0 < (brighter - plain).abs().max() <= 0.5
    contrasted = change_intensity(plain, SegmentationRecipe(contrast=0.5), np.random.default_rng(0))
    torch.testing.assert_close(contrasted.mean((1, 2)), plain.mean((1, 2)))
    assert 0.5 <= contrasted.std() / plain.std() <= 1.5
