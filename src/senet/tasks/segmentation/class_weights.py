"""Weights of classes in the loss, from how many pixels of the training masks they have."""

import numpy as np

from senet.data.source import DataSource, UnreadableImageError
from senet.errors import UsageError


def class_weights(wanted: str | tuple[float, ...] | None, source: DataSource) -> tuple[float, ...] | None:
    """Return the weight of each class.

    Args:
        wanted: the weights themselves; None; or how they follow from the masks, see `senet.recipe.SegmentationRecipe`.
        source: the images and masks.

    Raises:
        UsageError: for another number of weights than of classes.
    """
    if isinstance(wanted, tuple) and len(wanted) != len(source.classes):
        raise UsageError(f"segmentation.class_weights has {len(wanted)} numbers, and {source.name} has {len(source.classes)} classes")
    if not isinstance(wanted, str):
        return wanted
    pixels, seen = class_pixels(source)
    return WEIGHTINGS_BY_NAME[wanted](pixels, seen)


def class_pixels(source: DataSource) -> tuple[np.ndarray, np.ndarray]:
    """Return of each class its pixels, and all pixels of the training images that have it: (K,) int64; unreadable masks are left out."""
    count = len(source.classes)
    pixels, seen = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for index in range(len(source.train)):
        try:
            found = np.bincount(np.asarray(source.train.targets[index]).ravel(), minlength=count)[:count]
        except UnreadableImageError:
            continue
        pixels += found
        seen += np.where(found > 0, found.sum(), 0)
    return pixels, seen


def median_frequency(pixels: np.ndarray, seen: np.ndarray) -> tuple[float, ...]:
    """Return the median of the classes' frequencies over each one's own; 0 for a class that has no pixel."""
    frequency = pixels / np.maximum(seen, 1)
    there = pixels > 0
    median = np.median(frequency[there]) if there.any() else 1.0
    return tuple(np.where(there, median / np.where(there, frequency, 1.0), 0.0).tolist())


def ai_med(pixels: np.ndarray, seen: np.ndarray) -> tuple[float, ...]:
    """Return the median pixel count // each class's own, as AI-Med's `estimate_weights_mfb` does; 0 for a class that has no pixel."""
    there = pixels > 0
    median = np.median(pixels[there]) if there.any() else 1.0
    return tuple(np.where(there, median // np.where(there, pixels, 1), 0.0).tolist())


WEIGHTINGS_BY_NAME = {"median_frequency": median_frequency, "ai_med": ai_med}
