"""How well regions of each size are found: connected parts of the truth, small, medium and large.

A Dice score over all pixels says little of small regions, which have few. Here every region of the truth (pixels of one class that touch
by a side) counts by its size. A predicted region's pixels outside the truth are held against the size of the region of the truth that it
shares most pixels with; those of one that touches none, against its own size.
"""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import label

from senet.tasks.segmentation.boundary import extent
from senet.tasks.segmentation.confusion import dice_of

SIZES = ("small", "medium", "large")
COUNTS = ("regions", "found", "hits", "missed", "false")
"""What is counted of the regions of a size: them, those of which at least half the pixels are predicted rightly, and pixels."""
FINE = np.unique(np.round(2 ** (np.arange(121) / 4)).astype(np.int64))
"""Largest pixels of the sizes that are counted before it is known which is a third of the regions: each 1.19 times the last."""


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
        (B + 1, 5) int64, the columns of which `COUNTS` names.
    """
    counts = np.zeros((len(bounds) + 1, len(COUNTS)), np.int64)
    if not (both := truth | predicted).any():
        return counts
    part = extent(both)
    (own, regions), (made, parts) = (label(region[part]) for region in (truth, predicted))  # pyright: ignore[reportGeneralTypeIssues]
    areas = np.bincount(own.ravel(), minlength=regions + 1)
    hits = np.bincount(own[made > 0], minlength=regions + 1)
    size = np.searchsorted(bounds, areas)
    for region_counts, column in ((np.ones_like(areas), 0), (2 * hits >= areas, 1), (hits, 2), (areas - hits, 3)):
        np.add.at(counts[:, column], size[1:], region_counts[1:])
    made_areas = np.bincount(made.ravel(), minlength=parts + 1)
    shared = np.zeros((parts + 1, 2), np.int64)  # of each predicted region: most pixels shared with one region, and which
    pairs, pixels = np.unique(made.astype(np.int64) * (regions + 1) + own, return_counts=True)
    on_truth = np.zeros(parts + 1, np.int64)
    for pair, count in zip(pairs.tolist(), pixels.tolist(), strict=True):
        which, region = divmod(pair, regions + 1)
        if which and region:
            on_truth[which] += count
            if count > shared[which, 0]:
                shared[which] = count, region
    blamed = np.where(shared[:, 1] > 0, size[shared[:, 1]], np.searchsorted(bounds, made_areas))
    np.add.at(counts[:, 4], blamed[1:], (made_areas - on_truth)[1:])
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
    limits = [float(bounds[min(end, len(bounds)) - 1]) for end in ends]
    return {name: _row(part.sum(0), limit) for name, part, limit in zip(SIZES, rows, [*limits, None], strict=True)}


def _row(sums: np.ndarray, limit: float | None) -> dict[str, float | None]:
    regions, found, hits, missed, false = sums.tolist()
    dice = dice_of(np.array(hits), np.array(hits + missed), np.array(hits + false)).item()
    return {
        "dice": None if np.isnan(dice) else dice,
        "recall": 100 * hits / (hits + missed) if regions else None,
        "found": 100 * found / regions if regions else None,
        "regions": float(regions),
        "up to pixels": limit,
    }
