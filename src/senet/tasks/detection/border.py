"""Objects that touch the border of their image, where part of them is mostly missing."""

import numpy as np

BORDER_MARGIN = 2.0
"""Pixels of the border within which a box touches it: annotations of cut objects stop a pixel or two short of it."""

TOUCHING, INSIDE = "touching the border", "inside"
"""Names of the two kinds."""

BORDER_RANGES = {TOUCHING: (0.5, 1.0), INSIDE: (0.0, 0.5)}
"""The two kinds as ranges of `border_areas`, so that they are judged by the rules for ranges of areas."""


def touches_border(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return whether boxes touch the border of their images: (n,) bool.

    Args:
        xyxy: (n, 4) left, top, right and bottom in pixels.
        sizes: (n, 2) height and width of each box's image.
    """
    far = sizes[:, ::-1] - BORDER_MARGIN
    return np.any(np.concatenate([xyxy[:, :2] <= BORDER_MARGIN, xyxy[:, 2:] >= far], axis=1), axis=1)


def border_areas(xyxy: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return 1 for boxes that touch the border and 0 for the others: (n,) float64, see `touches_border`."""
    return touches_border(xyxy, sizes).astype(np.float64)
