"""What COCO's annotations hold as shapes: polygons and run lengths, drawn as its own API draws them (cocoapi, common/maskApi.c)."""

from typing import Any

import numpy as np

SCALE = 5
"""Steps of a polygon's boundary to a pixel."""

FARTHEST = 2**17
"""Largest coordinate, in pixels, of a corner; one farther off is a mistake that would take long to draw."""


def shape_mask(shape: Any, height: int, width: int) -> np.ndarray:
    """Return the pixels of a `segmentation`: (H, W) bool.

    Args:
        shape: polygons [[x, y, x, y, ...], ...], which are joined, or run lengths {"size": [height, width], "counts": [...] or text}.
        height: of the image.
        width: of the image.

    Raises:
        ValueError: if it is neither, or its size is another.
    """
    if isinstance(shape, dict):
        if shape.get("size") != [height, width]:
            raise ValueError(f"run lengths of size {shape.get('size')} for an image of [{height}, {width}]")
        counts = shape.get("counts")
        return runs_mask(text_runs(counts) if isinstance(counts, str) else counts, height, width)
    if not isinstance(shape, list) or not shape:
        raise ValueError("a segmentation that is neither polygons nor run lengths")
    return np.logical_or.reduce([polygon_mask(polygon, height, width) for polygon in shape])


def text_runs(text: str) -> list[int]:
    """Return the run lengths that a text says.

    A character is "0" and 5 bits, the sixth is set where more follow; from the fourth number on each is the difference to the last but one.

    Raises:
        ValueError: if it says none.
    """
    runs: list[int] = []
    value = place = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or place > 12:
            raise ValueError("run lengths that are damaged")
        value |= (code & 31) << 5 * place
        place += 1
        if not code & 32:
            if code & 16:
                value -= 1 << 5 * place
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = place = 0
    if place:
        raise ValueError("run lengths that are cut short")
    return runs


def mask_shape(mask: np.ndarray) -> dict[str, Any]:
    """Return the run lengths of a mask, (H, W) bool, with their counts as text, see `shape_mask`."""
    return {"size": list(mask.shape), "counts": runs_text(np.array(mask_runs(mask), np.int64))}


def runs_text(runs: np.ndarray) -> str:
    """Return run lengths, (n,) int64, as a text, see `text_runs`."""
    left = runs.copy()
    left[3:] -= runs[1:-2]
    letters, used = [], []
    more = np.ones(len(left), bool)
    while more.any():
        used.append(more)
        low = left & 31
        left = left >> 5
        more = more & (left != np.where(low & 16, -1, 0))
        letters.append(48 + low + 32 * more)
    return np.stack(letters, 1)[np.stack(used, 1)].astype(np.uint8).tobytes().decode() if letters else ""


def runs_mask(runs: Any, height: int, width: int) -> np.ndarray:
    """Return the mask of run lengths, outside and inside in turn, down the columns: (H, W) bool.

    Raises:
        ValueError: if they are no run lengths of so many pixels.
    """
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths that do not make up {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def mask_runs(mask: np.ndarray) -> list[int]:
    """Return the run lengths of a mask, (H, W) bool: pixels outside and inside in turn, down the columns."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat, prepend=False, append=~flat[-1:]))
    return np.diff(ends, prepend=0).tolist()


def polygon_mask(polygon: Any, height: int, width: int) -> np.ndarray:
    """Return the pixels of a polygon: (H, W) bool.

    Its boundary is followed in steps of 1/5 pixel; each column of pixels changes side where the boundary crosses its middle.

    Raises:
        ValueError: if it is none.
    """
    try:
        corners = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        corners = np.zeros(1)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not (np.abs(corners) <= FARTHEST).all():
        raise ValueError("a polygon that is no list of 3 or more corners x, y")
    points = np.trunc(SCALE * corners.reshape(-1, 2) + 0.5).astype(np.int64)
    x, y = _boundary(points, np.roll(points, -1, axis=0))
    turns = np.flatnonzero(x[1:] != x[:-1]) + 1
    column = (x[turns] - (x[turns] > x[turns - 1]) + 0.5) / SCALE - 0.5
    row = np.ceil(np.clip((np.minimum(y[turns], y[turns - 1]) + 0.5) / SCALE - 0.5, 0, height))
    middle = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    crossings = (column[middle] * height + row[middle]).astype(np.int64)
    changes = np.bincount(crossings, minlength=height * width + 1)[: height * width]
    return (np.cumsum(changes) % 2 == 1).reshape(width, height).T


def _boundary(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of lines between points, (K, 2) int64 each, by steps of 1 along their longer side: x and y, both ends included."""
    far = np.abs(ends - starts)
    flat = far[:, 0] >= far[:, 1]
    flip = np.where(flat, starts[:, 0] > ends[:, 0], starts[:, 1] > ends[:, 1])
    first, last = np.where(flip[:, None], ends, starts), np.where(flip[:, None], starts, ends)
    steps = far.max(axis=1)
    across = np.where(flat, last[:, 1] - first[:, 1], last[:, 0] - first[:, 0])
    slope = across / np.maximum(steps, 1)
    line = np.repeat(np.arange(len(starts)), steps + 1)
    walked = np.arange(len(line)) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    step = np.where(flip[line], steps[line] - walked, walked)
    along = step + np.where(flat, first[:, 0], first[:, 1])[line]
    aside = np.trunc(np.where(flat, first[:, 1], first[:, 0])[line] + slope[line] * step + 0.5).astype(np.int64)
    return np.where(flat[line], along, aside), np.where(flat[line], aside, along)
