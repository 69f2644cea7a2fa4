"""The handwritten digits that come inside scikit-learn: 1,797 grey images of 8 x 8, no download."""

import numpy as np

from senet.data.samplers import occurrences
from senet.data.source import ArrayImages, DataSource, input_spec
from senet.recipe import DataRecipe

DIGITS_MEAN, DIGITS_STD = (0.305,), (0.376,)
"""Over the training images, in 0..1."""


def open_source(recipe: DataRecipe) -> DataSource:
    """Open the digits; in the order of the file, every third image of each class is for validation."""
    from sklearn.datasets import load_digits  # takes a second, so only when digits are wanted

    pixels, labels = load_digits(return_X_y=True)
    pixels = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # 0..16 in the file
    labels = labels.astype(np.int64)
    val = occurrences(labels) % 3 == 2
    return DataSource(
        name="digits",
        train=ArrayImages("digits train", pixels[~val], labels[~val]),
        val=ArrayImages("digits val", pixels[val], labels[val]),
        classes=tuple("0123456789"),
        input=input_spec(recipe, size=8, mean=DIGITS_MEAN, std=DIGITS_STD),
    )
