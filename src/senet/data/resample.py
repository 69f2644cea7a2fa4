"""Pillow's bilinear resizing and rotation of many 8-bit images at once, on any device, with the same values in every bit.

Resizing weighs pixels by whole numbers of 22 bits and rounds to 8 bits after either direction (Resample.c); rotation interpolates in
float64 and cuts the fraction off (Geometry.c). Sums of whole numbers are exact in any order; the others are made step by step as in C.
Which direction comes first depends on Pillow's version, which is asked.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PRECISION_BITS = 22
"""Bits of a weight's fraction: 32 bits hold 8 of a pixel and 2 of what filters overshoot beside it."""
DIGITS = 15
"""Decimals to which Pillow rounds the sines of an angle."""


class Taps(NamedTuple):
    """Makings of the pixels of resized lines.

    Args:
        first: (N, side) int64, the first pixel that each one takes.
        weights: (N, side, taps) int32, weights of it and those after it, in 2**-22.
    """

    first: Tensor
    weights: Tensor

    def of(self, lengths: Tensor) -> "Taps":
        """Return the rows of some lengths (N,)."""
        return Taps(self.first[lengths], self.weights[lengths])


def bilinear_taps(length: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how a line of `length` pixels becomes one of `side`: the first pixel (side,) and the weights (side, taps)."""
    scale = length / side
    support = max(scale, 1.0)
    centre = (np.arange(side) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)  # whole numbers toward zero, as C has it
    last = np.minimum((centre + support + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    weights = np.maximum(1.0 - np.abs((places - centre[:, None] + 0.5) * (1.0 / support)), 0.0)
    weights[places >= last[:, None]] = 0.0
    total = np.add.accumulate(weights, 1)[:, -1:]  # one after the other: a sum by pairs would round otherwise
    return first, (0.5 + weights / total * (1 << PRECISION_BITS)).astype(np.int32)


def tap_table(longest: int, side: int, device: torch.device) -> Taps:
    """Return the taps of every length from 0 (which has none) to `longest`: row n is for lines of n pixels."""
    width = math.ceil(max(longest / side, 1.0)) * 2 + 1
    first, weights = np.zeros((longest + 1, side), np.int64), np.zeros((longest + 1, side, width), np.int32)
    for length in range(1, longest + 1):
        places, shares = bilinear_taps(length, side)
        first[length], weights[length, :, : shares.shape[1]] = places, shares
    return Taps(torch.from_numpy(first).to(device), torch.from_numpy(weights).to(device))


def resized_lines(images: Tensor, taps: Taps, start: Tensor, dim: int) -> Tensor:
    """Resize a stretch of every line along one dimension.

    Args:
        images: (N, C, H, W) uint8.
        taps: what the new pixels of each image are made of, counted from its stretch's start.
        start: (N,) int64, where each image's stretch begins.
        dim: 2 for columns, 3 for rows.
    """
    shape = [len(images), 1, 1, 1]
    shape[dim] = taps.first.shape[1]
    across = list(images.shape)
    across[dim] = shape[dim]
    places = taps.first + start[:, None]
    total = torch.full(across, 1 << (PRECISION_BITS - 1), dtype=torch.int32, device=images.device)
    for tap in range(taps.weights.shape[2]):
        index = (places + tap).clamp(max=images.shape[dim] - 1).view(shape).expand(across)  # a place too many has no weight
        total += images.gather(dim, index) * taps.weights[:, :, tap].view(shape)
    return (total >> PRECISION_BITS).clamp(0, 255).to(torch.uint8)


def resized(images: Tensor, across: tuple[Taps, Tensor], down: tuple[Taps, Tensor], rows_first: Tensor | None) -> Tensor:
    """Resize a window of each image to the size of the taps.

    Args:
        images: (N, C, H, W) uint8.
        across: what columns are made of, and (N,) where each window begins.
        down: likewise, what rows are made of.
        rows_first: (N,) bool, of which windows the rows are made first; None = of none.
    """
    usual = resized_lines(resized_lines(images, *across, 3), *down, 2)
    if rows_first is None:
        return usual
    return torch.where(rows_first[:, None, None, None], resized_lines(resized_lines(images, *down, 2), *across, 3), usual)


def never(width: np.ndarray, height: np.ndarray, new_width: int, new_height: int) -> np.ndarray:
    """Return that the rows never come first: Pillow 11 and 12.1."""
    return np.zeros(np.broadcast(width, height).shape, bool)


def rows_shrink_more(width: np.ndarray, height: np.ndarray, new_width: int, new_height: int) -> np.ndarray:
    """Return that the rows come first where they lose more than twice as many pixels as the columns: Pillow 13."""
    lost = np.asarray(height) - new_height
    return (lost > 0) & (lost > 2 * (np.asarray(width) - new_width))


RowsFirst = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]
PROBES = 200
"""Sizes for which Pillow is asked."""


@cache
def rows_first() -> RowsFirst | None:
    """Return which rule of this module Pillow follows here: (width, height, new width, new height) -> bool; None = neither."""
    random = np.random.default_rng(0)
    asked = [random.integers(1, 24, 4).tolist() for _ in range(PROBES)]
    cpu, start = torch.device("cpu"), torch.tensor([0])
    rules: list[RowsFirst] = [never, rows_shrink_more]
    for width, height, new_width, new_height in asked:
        pixels = random.integers(0, 256, (height, width), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR))
        across, down = (tap_table(n, new, cpu).of(torch.tensor([n])) for n, new in ((width, new_width), (height, new_height)))
        for rule in [*rules]:
            first = torch.from_numpy(rule(np.array([width]), np.array([height]), new_width, new_height))
            found = resized(torch.from_numpy(pixels)[None, None], (across, start), (down, start), first)
            if not np.array_equal(found[0, 0].numpy(), expected):
                rules.remove(rule)
    return rules[0] if rules else None


def rotation_matrices(angles: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return where Pillow's `rotate` reads: (N, 6) float64, of which (a, b, c) give a pixel's x = a x' + b y' + c and (d, e, f) its y.

    Args:
        angles: (N,) degrees, counter-clockwise.
        sizes: (2, N), width and height of each image.
    """
    turns = [-math.radians(angle % 360.0) for angle in angles.tolist()]
    cos = np.array([round(math.cos(turn), DIGITS) for turn in turns])
    sin = np.array([round(math.sin(turn), DIGITS) for turn in turns])
    x, y = sizes / 2
    return np.stack([cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y], 1)


def rotated(images: Tensor, matrices: Tensor, sizes: Tensor) -> Tensor:
    """Rotate images by bilinear interpolation; what comes from outside an image is 0.

    Args:
        images: (N, C, H, W) uint8; an image may fill only its upper left part.
        matrices: (N, 6) float64, see `rotation_matrices`.
        sizes: (2, N) int64, width and height of each image.
    """
    count, channels, height, width = images.shape
    a, b, c, d, e, f = matrices.t()[:, :, None, None]
    x = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    y = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5
    x, y = a * x + b * y + c, d * x + e * y + f  # (N, H, W)
    w, h = sizes[:, :, None, None]
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    lines = images.flatten(2)

    def value(right: int, down: int) -> Tensor:
        column, row = (left.long() + right).clamp(min=0).minimum(w - 1), (top.long() + down).clamp(min=0).minimum(h - 1)
        index = (row * width + column).view(count, 1, -1).expand(-1, channels, -1)
        return lines.gather(2, index).view(images.shape).double()

    upper, lower = (value(0, down) + (value(1, down) - value(0, down)) * dx for down in (0, 1))
    turned = upper + (lower - upper) * dy
    return torch.where(inside[:, None], turned, 0.0).to(torch.uint8)
