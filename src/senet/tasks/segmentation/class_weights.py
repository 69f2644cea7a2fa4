"""Weights of classes in the loss, from how many pixels of the training masks they have."""

import numpy as np

from senet.data.mask_statistics import MaskStatistics, mask_statistics
from senet.data.source import DataSource
from senet.errors import UsageError


def class_weights(wanted: str | tuple[float, ...] | None, source: DataSource) -> tuple[float, ...] | None:
    """Return the weight of each class.

    Args:
        wanted: the weights themselves; None; or how they follow from the masks, a name of `WEIGHTINGS`.
        source: the images and masks.

    Raises:
        UsageError: for another number of weights than of classes.
    """
    if isinstance(wanted, tuple) and len(wanted) != len(source.classes):
        raise UsageError(f"segmentation.class_weights has {len(wanted)} numbers, and {source.name} has {len(source.classes)} classes")
    if not isinstance(wanted, str):
        return wanted
    return tuple(WEIGHTINGS[wanted](mask_statistics(source.train, len(source.classes))).tolist())


def floored_median_count(statistics: MaskStatistics) -> np.ndarray:
    """Return the median pixel count // each class's own, (C,), as `estimate_weights_mfb` of AI-Med: 0 for what is commoner, or absent."""
    there = statistics.pixels > 0
    weights = np.zeros(len(there))
    weights[there] = np.median(statistics.pixels[there]) // statistics.pixels[there] if there.any() else ()
    return weights


WEIGHTINGS = {"median_frequency": MaskStatistics.median_frequency_weights, "ai_med": floored_median_count}
"""Name in a recipe -> the weights that follow from how often classes occur."""
