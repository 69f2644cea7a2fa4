"""Image and mask where a crop shows them.

All that moves an image is one map of points, at which the image is interpolated once and the mask looked up: so both move together, and no
chain of resamplings blurs the image. An image is one of Pillow, or (H, W, C) float32 whose values are the network's already, of a volume
(D, H, W, C).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from senet.data.masks import IGNORE
from senet.data.source import UnreadableImageError
from senet.data.transforms import BILINEAR, normalise_pixels, per_channel
from senet.spec import InputSpec
from senet.tasks.segmentation.crops import Window

COARSEST = 1.5
"""Pixels between neighbouring points from which on bilinear interpolation would skip some."""


def cut_image(image: Any, window: Window, spec: InputSpec, jitter: np.ndarray | None = None) -> Tensor:
    """Return the very pixels of a window, normalised: (C, h, w) float32, 0 (the mean) outside the image; see `sampled_image`."""
    first, last, ahead = _overlap(window, size_of(image))
    values = torch.zeros(spec.channels, int(window.height), int(window.width))
    if first[0] < last[0] and first[1] < last[1]:
        part = network_values(cropped(image, first, last), spec, jitter)
        values[:, ahead[0] : ahead[0] + part.shape[1], ahead[1] : ahead[1] + part.shape[2]] = part
    return values.flip(2) if window.mirrored else values


def cut_mask(mask: np.ndarray, window: Window) -> np.ndarray:
    """Return the classes in a window of very pixels: (h, w), `IGNORE` outside the mask (H, W)."""
    (top, left), (bottom, right), ahead = _overlap(window, mask.shape)
    classes = np.full((int(window.height), int(window.width)), IGNORE, mask.dtype)
    part = mask[top : max(top, bottom), left : max(left, right)]
    classes[ahead[0] : ahead[0] + part.shape[0], ahead[1] : ahead[1] + part.shape[1]] = part
    return classes[:, ::-1].copy() if window.mirrored else classes


def sampled_image(image: Any, points: np.ndarray, step: float, spec: InputSpec, jitter: np.ndarray | None = None) -> Tensor:
    """Return what an image shows at points, bilinear, normalised: (C, h, w) float32, 0 (the mean) outside the image.

    Of a volume it is trilinear, (C, d, h, w), at points (3, d, h, w).

    Args:
        image: of Pillow, or (H, W, C) float32, or (D, H, W, C).
        points: (2, h, w), rows and columns, where pixel 0 reaches from 0 to 1.
        step: how many pixels neighbouring points are apart; beyond `COARSEST` an image is first made smaller, with antialiasing; a volume
            is not.
        spec: channels and normalisation.
        jitter: (C,) what is added to each channel first, in 1/255.

    Raises:
        UnreadableImageError: as `network_values` does.
    """
    size = size_of(image)
    inside = _inside(points, size)
    if not inside.any():
        return torch.zeros(spec.channels, *points.shape[1:])
    first, last = _needed(points[:, inside], size, margin=int(2 * step))
    part = cropped(image, first, last)
    values = network_values(_reduced(part, step) if len(size) == 2 else part, spec, jitter)
    shares = [(places - low) / (high - low) for places, low, high in zip(points, first, last, strict=True)]
    grid = torch.from_numpy(np.stack(shares[::-1], -1).astype(np.float32) * 2 - 1)
    seen = functional.grid_sample(values[None], grid[None], "bilinear", "border", align_corners=False)[0]
    return torch.where(torch.from_numpy(inside), seen, 0.0)


def sampled_mask(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the classes of a mask (H, W) at points (2, h, w): (h, w) of its type, `IGNORE` outside; of a volume, with a third axis."""
    places = np.floor(points).astype(np.int64)
    found = mask[tuple(place.clip(0, length - 1) for place, length in zip(places, mask.shape, strict=True))]
    return np.where(_inside(points, mask.shape), found, np.array(IGNORE, mask.dtype))


def size_of(image: Any) -> tuple[int, ...]:
    """Return height and width of an image; of a volume slices, rows and columns."""
    return image.shape[:-1] if isinstance(image, np.ndarray) else (image.height, image.width)


def cropped(image: Any, first: Sequence[int], last: Sequence[int]) -> Any:
    """Cut a part out of an image: rows and columns from `first` up to `last`, of a volume slices, too."""
    if isinstance(image, np.ndarray):
        return image[tuple(map(slice, first, last))]
    return image.crop((first[1], first[0], last[1], last[0]))


def network_values(image: Any, spec: InputSpec, jitter: np.ndarray | None = None) -> Tensor:
    """Return the values of an image as the network sees them: (C, H, W) float32, of a volume (D, H, W, C) as (C, D, H, W).

    Raises:
        UnreadableImageError: for an array of other channels, or an image of more than 8 bits whose range nothing says.
    """
    if not isinstance(image, np.ndarray):
        return torch.from_numpy(normalise_pixels(image, spec, jitter))
    if image.ndim not in (3, 4) or image.shape[-1] != spec.channels:
        raise UnreadableImageError(f"an array of shape {image.shape}, where (H, W, {spec.channels}) is expected")
    values = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0), np.float32))
    return values if jitter is None else values + torch.from_numpy(per_channel(jitter / (255 * np.array(spec.std))))


def _overlap(window: Window, size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return where the part of an image begins and ends that a window of very pixels has, and the window's rows and columns before it."""
    top, left = int(window.top), int(window.left)
    first = max(top, 0), max(left, 0)
    last = min(top + int(window.height), size[0]), min(left + int(window.width), size[1])
    return first, last, (first[0] - top, first[1] - left)


def _inside(points: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return which points lie in an image."""
    return np.all((points >= 0) & (points < np.reshape(size, (-1, *[1] * (points.ndim - 1)))), axis=0)


def _needed(points: np.ndarray, size: Sequence[int], margin: int) -> tuple[list[int], list[int]]:
    """Return where the part of an image begins and ends that points (axes, n) are interpolated from."""
    first = (np.floor(points.min(1) - 0.5).astype(int) - margin).clip(0)
    last = np.minimum(np.floor(points.max(1) - 0.5).astype(int) + 2 + margin, size)
    return first.tolist(), last.tolist()


def _reduced(image: Any, step: float) -> Any:
    """Make an image smaller, with antialiasing, where points so far apart would skip pixels."""
    if step <= COARSEST:
        return image
    height, width = (max(1, round(side / step)) for side in size_of(image))
    if not isinstance(image, np.ndarray):
        return image.resize((width, height), BILINEAR)
    channels = [
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize((width, height), BILINEAR) for channel in image.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(channel) for channel in channels], 2)
