"""Dice by volume: the slices of a volume are judged together, as if the volume had been predicted as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from senet.results.metric import Metric
from senet.tasks.segmentation.confusion import dice_of, known_mean

VOLUME_DICE = Metric("volume_dice", "volume Dice", "%")
"""Mean over volumes of the mean over classes, as papers on volumes report it."""

MEAN_ROW = "mean over volumes"


@dataclass(frozen=True)
class ImageGroups:
    """Volumes that images are slices of.

    Args:
        numbers: (N,) int64, the volume of each image of the set.
        names: of the volumes.
    """

    numbers: np.ndarray
    names: Sequence[str]

    @classmethod
    def of(cls, images: Any) -> "ImageGroups | None":
        """Return what a set of images says in `groups` and `group_names`; None if it says nothing."""
        numbers = getattr(images, "groups", None)
        return None if numbers is None else cls(np.asarray(numbers), list(images.group_names))

    @classmethod
    def each(cls, images: Any) -> "ImageGroups":
        """Return groups of one image each."""
        return cls(np.arange(len(images)), [images.describe(index) for index in range(len(images))])


def volume_dice(sums: np.ndarray) -> np.ndarray:
    """Return the Dice of each class of each volume, in percent: (G, K); NaN where truth and prediction have nothing of it.

    Args:
        sums: (G, 3, K) voxels of each class that are found rightly, that there are, and that are predicted.
    """
    return dice_of(sums[:, 0], sums[:, 1], sums[:, 2])


def mean_volume_dice(sums: np.ndarray, judged: Sequence[int]) -> float:
    """Return the mean over volumes of the mean Dice over the judged classes that are there; NaN of none."""
    return known_mean(np.array([known_mean(row[list(judged)]) for row in volume_dice(sums)]))


def volume_table(
    sums: np.ndarray, names: Sequence[str], classes: Sequence[str], judged: Sequence[int]
) -> Mapping[str, Mapping[str, float | None]]:
    """Return a row for each volume, and one for their mean: "dice", the mean over classes, and the Dice of each judged class."""
    dice = volume_dice(sums)[:, list(judged)]
    figures = {name: np.array([known_mean(row), *row]) for name, row in zip(names, dice, strict=True)}
    figures[MEAN_ROW] = np.array([known_mean(column) for column in np.stack(list(figures.values()), 1)])
    headings = ["dice", *(f"dice {classes[index]}" for index in judged)]
    return {
        name: {heading: None if np.isnan(value) else float(value) for heading, value in zip(headings, row, strict=True)}
        for name, row in figures.items()
    }
