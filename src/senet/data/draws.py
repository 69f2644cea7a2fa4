"""Random parameters of many training samples at once: those that `TrainTransform` would draw for each alone, in its order."""

import math
from dataclasses import dataclass

import numpy as np

from senet.data.philox import Streams
from senet.data.transforms import CROP_TRIES
from senet.recipe import DataRecipe
from senet.spec import InputSpec


@dataclass(frozen=True)
class Draws:
    """Parameters of N samples; None for what a recipe does not do.

    Args:
        angle: (N,) float64, rotation in degrees.
        window: (4, N) int64, what a random-resized crop takes: left, top, width, height.
        jitter: (N, C) float64, what is added to each channel, in 1/255.
        flip: (N,) bool, whether the image is mirrored.
        offset: (2, N) int64, top and left of the window in the padded image.
        hole: (2, N) int64, top and left of the square that Cutout blanks; either may be negative.
    """

    angle: np.ndarray | None
    window: np.ndarray | None
    jitter: np.ndarray | None
    flip: np.ndarray | None
    offset: np.ndarray | None
    hole: np.ndarray | None


def draw(recipe: DataRecipe, spec: InputSpec, streams: Streams, sizes: np.ndarray) -> Draws:
    """Draw the parameters of samples.

    Args:
        recipe: what is done to them.
        spec: size and channels of what the network sees.
        streams: the random numbers of each sample, from their start.
        sizes: (2, N), width and height of each image before it is augmented.
    """
    angle = streams.uniform(-recipe.rotation, recipe.rotation) if recipe.rotation else None
    window = crop_windows(sizes, recipe.scale, recipe.ratio, streams) if recipe.crop == "random_resized" else None
    shifts = range(spec.channels if recipe.jitter else 0)
    jitter = [streams.uniform(-recipe.jitter, recipe.jitter) for _ in shifts]
    flip = streams.random() < 0.5 if recipe.flip else None
    offset = [streams.integers(2 * recipe.pad + 1) for _ in range(2 if recipe.crop == "pad" else 0)]
    hole = [streams.integers(spec.size) - recipe.cutout // 2 for _ in range(2 if recipe.cutout else 0)]
    return Draws(angle, window, np.stack(jitter, 1) if jitter else None, flip, _stacked(offset), _stacked(hole))


def crop_windows(sizes: np.ndarray, scale: tuple[float, float], ratio: tuple[float, float], streams: Streams) -> np.ndarray:
    """Draw the windows of `random_resized_crop`: (4, N) int64, left, top, width, height.

    Args:
        sizes: (2, N), width and height of each image.
        scale: range of the window's share of the area.
        ratio: range of width / height.
        streams: the random numbers of each sample.
    """
    width, height = sizes
    windows = np.empty((4, len(streams)), np.int64)
    logs = math.log(ratio[0]), math.log(ratio[1])
    rows = np.arange(len(streams))
    for _ in range(CROP_TRIES):
        area = width[rows] * height[rows] * streams.uniform(*scale, rows)
        aspect = np.array([math.exp(value) for value in streams.uniform(*logs, rows).tolist()])  # NumPy's own exp rounds otherwise
        w, h = np.rint(np.sqrt(area * aspect)).astype(np.int64), np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (w > 0) & (w <= width[rows]) & (h > 0) & (h <= height[rows])
        found, w, h = rows[fits], w[fits], h[fits]
        left = streams.integers(width[found] - w + 1, found)
        top = streams.integers(height[found] - h + 1, found)
        windows[:, found] = left, top, w, h
        rows = rows[~fits]
        if not len(rows):
            return windows
    w, h = width[rows], height[rows]  # no window fits: the largest central one of an allowed aspect
    aspect = np.minimum(np.maximum(w / h, ratio[0]), ratio[1])
    w, h = np.minimum(w, np.rint(h * aspect)).astype(np.int64), np.minimum(h, np.rint(w / aspect)).astype(np.int64)
    windows[:, rows] = (width[rows] - w) // 2, (height[rows] - h) // 2, w, h
    return windows


def _stacked(pair: list[np.ndarray]) -> np.ndarray | None:
    return np.stack(pair) if pair else None
