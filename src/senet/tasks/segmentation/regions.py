"""How well regions of each size are found: connected parts of the truth, small, medium and large.

A Dice score over all pixels says little of small regions, which have few. Here every region of the truth (pixels of one class that touch
by a side) counts by its size. A pixel that is predicted wrongly is held against the size of the region of the truth that is nearest to it;
in an image without any, against the size of the predicted region that it is part of.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from senet.tasks.segmentation.boundary import extent
from senet.tasks.segmentation.confusion import dice_of

REGION_SIZES = ("small", "medium", "large")
REGION_COUNTS = ("regions", "found", "hits", "missed", "false")
"""What is counted of the regions of a size: them, those of which at least half the pixels are predicted rightly, and pixels."""
FINE = np.unique(np.round(2 ** (np.arange(481) / 16)).astype(np.int64))
"""Largest pixels of the sizes that are counted until thirds of the regions are known: each at most 4 % or a pixel above the last."""


def largest_pixels(sizes: tuple[int, int] | None) -> np.ndarray:
    """Return the largest number of pixels of each size that is counted, but for the last, which has no end; None = fine steps."""
    return FINE if sizes is None else np.array(sizes)


def count_regions(truth: np.ndarray, predicted: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Count the regions of one class in an image, by size.

    Args:
        truth: bool, of any number of dimensions.
        predicted: bool of the same shape.
        bounds: (B,) as `largest_pixels` gives them.

    Returns:
        (B + 1, 5) int64, the columns of which `REGION_COUNTS` names.
    """
    counts = np.zeros((len(bounds) + 1, len(REGION_COUNTS)), np.int64)
    if not (both := truth | predicted).any():
        return counts
    part = extent(both)
    truth, predicted = truth[part], predicted[part]
    own, regions = _labelled(truth)
    areas = np.bincount(own.ravel(), minlength=regions + 1)
    size = np.searchsorted(bounds, areas)
    hits = np.bincount(own[predicted], minlength=regions + 1)
    for column, values in enumerate((np.ones_like(areas), 2 * hits >= areas, hits, areas - hits)):
        np.add.at(counts[:, column], size[1:], values[1:])
    false = predicted & ~truth
    if regions:
        nearest: Any = distance_transform_edt(~truth, return_distances=False, return_indices=True)
        blamed = size[own[tuple(nearest)][false]]
    else:
        made, _ = _labelled(false)
        blamed = np.searchsorted(bounds, np.bincount(made.ravel()))[made[false]]
    counts[:, 4] += np.bincount(blamed, minlength=len(counts))
    return counts


def size_table(counts: np.ndarray, bounds: np.ndarray, sizes: tuple[int, int] | None) -> Mapping[str, Mapping[str, float | None]]:
    """Return for each size Dice and recall of its pixels and the share of its regions found (half of them), in percent, and their number.

    Args:
        counts: (B + 1, 5) sums of what `count_regions` gave.
        bounds: as there.
        sizes: largest pixels of small and medium; None = a third of the regions each, as near as the fine steps allow.
    """
    if sizes is None:
        upto = np.cumsum(counts[:, 0])
        ends = [int(np.searchsorted(upto, upto[-1] * share / 3)) + 1 for share in (1, 2)]
    else:
        ends = [1, 2]
    rows = np.split(counts, ends)
    limits = [int(bounds[min(end, len(bounds)) - 1]) for end in ends]
    return {name: _row(part.sum(0), limit) for name, part, limit in zip(REGION_SIZES, rows, [*limits, None], strict=True)}


def _labelled(region: np.ndarray) -> tuple[np.ndarray, int]:
    found: Any = label(region)
    return found


def _row(sums: np.ndarray, limit: int | None) -> dict[str, float | None]:
    regions, found, hits, missed, false = sums.tolist()
    dice = dice_of(np.array(hits), np.array(hits + missed), np.array(hits + false)).item()
    return {
        "dice": None if np.isnan(dice) else dice,
        "recall": 100 * hits / (hits + missed) if regions else None,
        "found": 100 * found / regions if regions else None,
        "regions": regions,
        "up to pixels": limit,
    }
