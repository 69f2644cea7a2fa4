"""Changes of a training image's values, which leave the mask as it is: brightness, contrast, gamma, noise, blur."""

import math

import numpy as np
import torch
from torch import Tensor

from senet.recipe import SegmentationRecipe


def change_intensity(image: Tensor, plan: SegmentationRecipe, random: np.random.Generator) -> Tensor:
    """Return (C, H, W) or (C, D, H, W) float32 normalised values with each change that a recipe asks for, all channels alike.

    Blur first, then gamma, contrast, brightness, and noise last, as a lens, a sensor and its amplifier do.
    """
    if plan.blur:
        image = blurred(image, random.uniform(0, plan.blur))
    if plan.gamma_correction > 1:
        spread = math.log(plan.gamma_correction)
        image = gamma_corrected(image, math.exp(random.uniform(-spread, spread)))
    if plan.contrast:
        mean = image.mean(_spatial(image), keepdim=True)
        image = mean + (image - mean) * random.uniform(1 - plan.contrast, 1 + plan.contrast)
    if plan.brightness:
        image = image + random.uniform(-plan.brightness, plan.brightness)
    if plan.noise:
        sigma = random.uniform(0, plan.noise)
        image = image + sigma * torch.from_numpy(random.standard_normal(tuple(image.shape), np.float32))
    return image


def gamma_corrected(image: Tensor, gamma: float) -> Tensor:
    """Return each channel's values between its least and its largest, as shares of that range, to the power of gamma."""
    low, high = image.amin(_spatial(image), keepdim=True), image.amax(_spatial(image), keepdim=True)
    span = (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    return low + ((image - low) / span).clamp(0, 1) ** gamma * (high - low)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return the image after a Gaussian filter of so many pixels along each axis; what lies outside is its mirror image."""
    from scipy.ndimage import gaussian_filter

    sigmas = (0, *(sigma,) * (image.ndim - 1))
    return torch.from_numpy(gaussian_filter(image.numpy(), sigmas, truncate=3.0)) if sigma > 0 else image


def _spatial(image: Tensor) -> tuple[int, ...]:
    return tuple(range(1, image.ndim))
