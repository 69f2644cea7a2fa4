"""Intensities of a volume on the scale that a network sees: scanners agree on none of their own."""

from collections.abc import Callable, Mapping

import numpy as np

from senet.recipe import VolumeRecipe


def normalise_volume(values: np.ndarray, recipe: VolumeRecipe, window: tuple[float, float] | None) -> np.ndarray:
    """Return a volume's values as a recipe says, float32; its figures are those of all its voxels.

    Args:
        values: float32, any shape.
        recipe: intensity and percentiles.
        window: the values that are 0 and 1, for intensity "window".
    """
    return NORMALISATIONS[recipe.intensity](values, recipe, window)


def _zscore(values: np.ndarray, recipe: VolumeRecipe, window: tuple[float, float] | None) -> np.ndarray:
    """Shift and scale to mean 0 and standard deviation 1; a volume of one value becomes 0."""
    deviation = values.std(dtype=np.float64)
    return _scaled(values, float(values.mean(dtype=np.float64)), float(deviation) or 1.0)


def _percentiles(values: np.ndarray, recipe: VolumeRecipe, window: tuple[float, float] | None) -> np.ndarray:
    low, high = (float(value) for value in np.percentile(values, recipe.percentiles))
    return _windowed(values, recipe, (low, high))


def _windowed(values: np.ndarray, recipe: VolumeRecipe, window: tuple[float, float] | None) -> np.ndarray:
    assert window is not None, "checked where the source is opened"
    return _scaled(values, window[0], (window[1] - window[0]) or 1.0).clip(0, 1)


def _unchanged(values: np.ndarray, recipe: VolumeRecipe, window: tuple[float, float] | None) -> np.ndarray:
    return values


def _scaled(values: np.ndarray, zero: float, one: float) -> np.ndarray:
    shifted = values - np.float32(zero)
    shifted *= np.float32(1 / one)
    return shifted


NORMALISATIONS: Mapping[str, Callable[[np.ndarray, VolumeRecipe, tuple[float, float] | None], np.ndarray]] = {
    "zscore": _zscore,
    "percentiles": _percentiles,
    "window": _windowed,
    "none": _unchanged,
}
