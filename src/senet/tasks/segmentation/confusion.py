"""Which class is taken for which, pixel by pixel, and the overlaps that follow: Dice and IoU."""

import numpy as np

from senet.data.masks import IGNORE
from senet.errors import UsageError


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each class (rows) that are predicted as each class (columns): (K, K) int64; ignored pixels do not count.

    Raises:
        UsageError: if the truth holds a label that is no class.
    """
    known = truth != IGNORE
    labels = truth[known].astype(np.int64)
    if labels.size and labels.max() >= classes:
        raise UsageError(
            f"a mask holds the label {labels.max()}, and there are {classes} classes, 0 to {classes - 1}, and {IGNORE}, ignored"
        )
    pairs = np.bincount(labels * classes + predicted[known], minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)


def dice_of(hits: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return Dice in percent, 2 hits / (truth + predicted), of counts of pixels; NaN where there is nothing in either."""
    return percent(2 * hits, truth + predicted)


def iou_of(hits: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return intersection over union in percent of counts of pixels; NaN where there is nothing in either."""
    return percent(hits, truth + predicted - hits)


def known_mean(values: np.ndarray) -> float:
    """Return the mean of those that are numbers; NaN of none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return parts of wholes in percent; NaN of nothing."""
    return np.where(whole > 0, 100.0 * part / np.maximum(whole, 1), np.nan)
