"""Image and mask where a crop shows them.

All that moves an image is one map of points, at which the image is interpolated once and the mask looked up: so both move together, and no
chain of resamplings blurs the image. An image is one of Pillow, or (H, W, C) float32 whose values are the network's already.
"""

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

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of an image."""


def cut_image(image: Any, window: Window, spec: InputSpec, jitter: np.ndarray | None = None) -> Tensor:
    """Return the very pixels of a window, normalised: (C, h, w) float32, 0 (the mean) outside the image; see `sampled_image`."""
    box, ahead = _overlap(window, size_of(image))
    values = torch.zeros(spec.channels, int(window.height), int(window.width))
    if box[0] < box[2] and box[1] < box[3]:
        part = network_values(cropped(image, box), spec, jitter)
        values[:, ahead[0] : ahead[0] + part.shape[1], ahead[1] : ahead[1] + part.shape[2]] = part
    return values.flip(2) if window.mirrored else values


def cut_mask(mask: np.ndarray, window: Window) -> np.ndarray:
    """Return the classes in a window of very pixels: (h, w), `IGNORE` outside the mask (H, W)."""
    (left, top, right, bottom), ahead = _overlap(window, mask.shape[:2])
    classes = np.full((int(window.height), int(window.width)), IGNORE, mask.dtype)
    part = mask[top : max(top, bottom), left : max(left, right)]
    classes[ahead[0] : ahead[0] + part.shape[0], ahead[1] : ahead[1] + part.shape[1]] = part
    return classes[:, ::-1].copy() if window.mirrored else classes


def sampled_image(image: Any, points: np.ndarray, step: float, spec: InputSpec, jitter: np.ndarray | None = None) -> Tensor:
    """Return what an image shows at points, bilinear, normalised: (C, h, w) float32, 0 (the mean) outside the image.

    Args:
        image: of Pillow, or (H, W, C) float32.
        points: (2, h, w), rows and columns, where pixel 0 reaches from 0 to 1.
        step: how many pixels neighbouring points are apart; beyond `COARSEST` the image is first made smaller, with antialiasing.
        spec: channels and normalisation.
        jitter: (C,) what is added to each channel first, in 1/255.

    Raises:
        UnreadableImageError: as `network_values` does.
    """
    size = np.array(size_of(image))[:, None, None]
    inside = ((points >= 0) & (points < size)).all(0)
    if not inside.any():
        return torch.zeros(spec.channels, *points.shape[1:])
    left, top, right, bottom = _needed(points[:, inside], size.ravel(), margin=int(2 * step))
    values = network_values(_reduced(cropped(image, (left, top, right, bottom)), step), spec, jitter)
    rows, columns = (points[0] - top) / (bottom - top), (points[1] - left) / (right - left)
    grid = torch.from_numpy(np.stack([columns, rows], -1).astype(np.float32) * 2 - 1)
    seen = functional.grid_sample(values[None], grid[None], "bilinear", "border", align_corners=False)[0]
    return torch.where(torch.from_numpy(inside), seen, 0.0)


def sampled_mask(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the classes of a mask (H, W) at points (2, h, w): (h, w) of its type, `IGNORE` outside."""
    rows, columns = np.floor(points).astype(np.int64)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    found = mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]
    return np.where(inside, found, np.array(IGNORE, mask.dtype))


def size_of(image: Any) -> tuple[int, int]:
    """Return height and width of an image."""
    return image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)


def cropped(image: Any, box: Box) -> Any:
    """Cut a part out of an image."""
    return image[box[1] : box[3], box[0] : box[2]] if isinstance(image, np.ndarray) else image.crop(box)


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


def _overlap(window: Window, size: tuple[int, ...]) -> tuple[Box, tuple[int, int]]:
    """Return which part of an image a window of very pixels has, and how many rows and columns of the window come before it."""
    top, left = int(window.top), int(window.left)
    box = max(left, 0), max(top, 0), min(left + int(window.width), size[1]), min(top + int(window.height), size[0])
    return box, (box[1] - top, box[0] - left)


def _needed(points: np.ndarray, size: np.ndarray, margin: int) -> Box:
    """Return the part of an image that points (2, n) are interpolated from."""
    first = (np.floor(points.min(1) - 0.5).astype(int) - margin).clip(0)
    last = np.minimum(np.floor(points.max(1) - 0.5).astype(int) + 2 + margin, size)
    return int(first[1]), int(first[0]), int(last[1]), int(last[0])


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
