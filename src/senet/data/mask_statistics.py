"""How often classes occur in masks, and the weights that balance them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from senet.data.fingerprint import fingerprint
from senet.data.kept import Arrays, kept_arrays
from senet.data.mask_files import MaskedImages
from senet.data.mask_scan import IGNORED
from senet.data.masks import IGNORE, distinct
from senet.data.source import ImageSet, UnreadableImageError


@dataclass(frozen=True)
class MaskStatistics:
    """Counts of C classes over the masks of a set.

    Args:
        pixels: (C,) int64, pixels of each class.
        images: (C,) int64, masks that hold each class.
        image_pixels: (C,) int64, pixels that are not ignored in the masks that hold each class.
    """

    pixels: np.ndarray
    images: np.ndarray
    image_pixels: np.ndarray

    def median_frequency_weights(self) -> np.ndarray:
        """Return the weight that balances each class, median(frequency) / frequency, (C,) float64 (Eigen and Fergus, ICCV 2015).

        A class's frequency is its pixels divided by all pixels, but ignored ones, of the images that hold it. Classes without a pixel have
        no part in the median; their weight, which no pixel asks for, is 0.
        """
        there = self.pixels > 0
        frequencies = self.pixels[there] / self.image_pixels[there]
        weights = np.zeros(len(self.pixels))
        weights[there] = np.median(frequencies) / frequencies if there.any() else ()
        return weights


def mask_statistics(images: ImageSet, classes: int) -> MaskStatistics:
    """Count the classes of all masks of a set; files were counted when they were opened, others are read once and then remembered.

    Those of shards were counted when the shards were written: masks that have `statistics` say them.

    Args:
        images: their targets are masks, (H, W) uint8; one that cannot be read is left out. A set that has counted them has a method
            `class_counts(classes)`, which returns the pixels of each class in each mask, (N, C) int64.
        classes: number of classes.
    """
    if isinstance(images, MaskedImages):
        return _of_scan(images, classes)
    if isinstance(found := getattr(images.targets, "statistics", None), MaskStatistics):
        return found
    counted = getattr(images, "class_counts", None)
    if callable(counted):
        counts = np.asarray(counted(classes), np.int64)
        return MaskStatistics(counts.sum(0), (counts > 0).sum(0), ((counts > 0) * counts.sum(1, keepdims=True)).sum(0))
    name = hashlib.sha256(repr((fingerprint(images), classes)).encode()).hexdigest()[:32]
    return MaskStatistics(**kept_arrays(f"classes-{name}", {"pixels": "i", "images": "i", "image_pixels": "i"}, _counting(images, classes)))


def _counting(images: ImageSet, classes: int) -> Callable[[], Arrays]:
    def count() -> Arrays:
        pixels, held, image_pixels = (np.zeros(classes, np.int64) for _ in range(3))
        for index in range(len(images)):
            try:
                values, counts = distinct(images.targets[index])
            except UnreadableImageError:
                continue
            values, counts = values[values != IGNORE], counts[values != IGNORE]
            pixels[values] += counts
            held[values] += 1
            image_pixels[values] += counts.sum()
        return {"pixels": pixels, "images": held, "image_pixels": image_pixels}

    return count


def _of_scan(images: MaskedImages, classes: int) -> MaskStatistics:
    scan = images.scan
    pixels, held, image_pixels = (np.zeros(classes, np.int64) for _ in range(3))
    known = np.flatnonzero((scan.labels != IGNORED) & (scan.labels < classes))
    labels = scan.labels[known]
    pixels[labels], held[labels] = scan.pixels[known], scan.images[known]
    image_pixels[labels] = scan.together[np.ix_(known, known)].sum(axis=1)
    return MaskStatistics(pixels, held, image_pixels)
