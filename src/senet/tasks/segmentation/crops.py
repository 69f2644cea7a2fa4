"""Which part of an image a training crop shows: its window, turned, mirrored, enlarged and deformed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from senet.data.masks import IGNORE
from senet.recipe import DataRecipe, SegmentationRecipe


@dataclass(frozen=True)
class Window:
    """Part of an image that a crop shows.

    Args:
        top: of the window, in pixels from the image's upper edge; it may hang over.
        left: of the window.
        height: of the window.
        width: of the window.
        angle: by which it is turned about its centre, in degrees.
        mirrored: whether left and right are swapped.
    """

    top: float
    left: float
    height: float
    width: float
    angle: float = 0.0
    mirrored: bool = False

    def step(self, side: int) -> float:
        """Return how many pixels of the image the pixels of a crop of this side are apart, in the geometric mean of both axes."""
        return math.sqrt(self.height * self.width) / side

    def is_cut(self, side: int) -> bool:
        """Return whether a crop of this side has the window's very pixels, so that nothing is interpolated."""
        return not self.angle and self.height == self.width == side and float(self.top).is_integer() and float(self.left).is_integer()

    def points(self, side: int) -> np.ndarray:
        """Return (2, side, side) float64, the row and column that each pixel's centre shows, where pixel 0 reaches from 0 to 1."""
        places = (np.arange(side) + 0.5) / side - 0.5
        rows, columns = turned(self.angle, places[:, None] * self.height, (-places if self.mirrored else places)[None] * self.width)
        return np.stack([rows + self.top + self.height / 2, columns + self.left + self.width / 2])


def turned(angle: float, down: Any, across: Any) -> tuple[Any, Any]:
    """Turn points (down, across) by an angle in degrees."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return cosine * down + sine * across, cosine * across - sine * down


def draw_window(mask: np.ndarray, data: DataRecipe, plan: SegmentationRecipe, side: int, random: np.random.Generator) -> Window:
    """Draw the part of an image that a training crop shows.

    "random_resized" draws area and aspect (cut down to the image's sides) and the place; "pad" takes a window of the crop's size anywhere
    in the image with `data.pad` around it; "none" takes the centre. A share `segmentation.foreground` of the windows is laid over a pixel
    of the foreground instead, each such pixel as likely.

    Args:
        mask: (H, W) classes; the foreground is what is neither class 0 nor ignored.
        data: crop, pad, scale, ratio, flip and rotation.
        plan: foreground and zoom.
        side: of the crop, in pixels.
        random: source of randomness.
    """
    height, width = _sides(mask.shape, data, plan, side, random)
    angle = random.uniform(-data.rotation, data.rotation) if data.rotation else 0.0
    mirrored = bool(data.flip and random.random() < 0.5)
    pad = data.pad if data.crop == "pad" else 0
    spot = foreground_place(mask, random) if plan.foreground and random.random() < plan.foreground else None
    if spot is not None:
        down, across = (random.uniform(-0.5, 0.5), random.uniform(-0.5, 0.5)) if data.crop != "none" else (0.0, 0.0)
        row, column = turned(angle, down * height, across * width)
        top, left = spot[0] + 0.5 - row - height / 2, spot[1] + 0.5 - column - width / 2
        starts = [_inside(top, height, mask.shape[0], pad), _inside(left, width, mask.shape[1], pad)]
    elif data.crop == "none":
        starts = [(mask.shape[0] - height) / 2, (mask.shape[1] - width) / 2]
    else:
        starts = [random.uniform(*_range(height, mask.shape[0], pad)), random.uniform(*_range(width, mask.shape[1], pad))]
    if height == width == side and not angle:  # whole pixels: an upright crop needs no interpolation
        starts = [round(start) for start in starts]
    return Window(starts[0], starts[1], height, width, angle, mirrored)


def elastic_shift(sides: Sequence[int], strength: float, grid: int, random: np.random.Generator) -> np.ndarray:
    """Draw a smooth displacement along each axis of a crop or patch: (axes, *sides) float64, in pixels of it.

    Points `grid` pixels apart move by up to `strength` each way, and a cubic B-spline, which never exceeds its points, leads from one to
    the next (Rueckert et al. 1999). It is a product of one spline an axis, so that the axes are computed one after the other.
    """
    shift = random.uniform(-strength, strength, (len(sides), *(side // grid + 4 for side in sides)))
    for axis, side in enumerate(sides, 1):
        shift = np.moveaxis(np.tensordot(_spline(side, grid), shift, (1, axis)), 0, axis)
    return shift


def _spline(side: int, grid: int) -> np.ndarray:
    """Return the share of each point in each pixel: (side, points)."""
    places = (np.arange(side) + 0.5) / grid
    first = np.floor(places).astype(np.int64)
    t = places - first
    shares = np.zeros((side, side // grid + 4))
    for number, share in enumerate(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3)):
        shares[np.arange(side), first + number] = share / 6
    return shares


def _sides(
    shape: tuple[int, ...], data: DataRecipe, plan: SegmentationRecipe, side: int, random: np.random.Generator
) -> tuple[float, float]:
    height = width = float(side)
    if data.crop == "random_resized":
        area = shape[0] * shape[1] * random.uniform(*data.scale)
        aspect = math.exp(random.uniform(math.log(data.ratio[0]), math.log(data.ratio[1])))
        height, width = min(math.sqrt(area / aspect), shape[0]), min(math.sqrt(area * aspect), shape[1])
    if plan.zoom == (1.0, 1.0):
        return height, width
    factor = math.exp(random.uniform(math.log(plan.zoom[0]), math.log(plan.zoom[1])))
    return height / factor, width / factor


def foreground_place(mask: np.ndarray, random: np.random.Generator) -> tuple[int, ...] | None:
    """Return a pixel or voxel of a class other than the first, each as likely; None if there is none."""
    found = np.flatnonzero((mask != 0) & (mask != IGNORE))
    if not len(found):
        return None
    return tuple(int(place) for place in np.unravel_index(found[random.integers(len(found))], mask.shape))


def _range(inner: float, outer: int, pad: int) -> tuple[float, float]:
    """Return from where to where a window may begin: it lies in the padded image, or that in it."""
    first, last = sorted((float(-pad), outer + pad - inner))
    return first, last


def _inside(start: float, inner: float, outer: int, pad: int) -> float:
    first, last = _range(inner, outer, pad)
    return min(max(float(start), first), last)
