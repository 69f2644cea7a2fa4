"""The images of a step that is behind: their names, and some of these in words."""

from collections.abc import Sequence

from senet.data.image_tree import few
from senet.data.placement import TrainBatches
from senet.data.source import ImageSet

NAMED = 8
"""Images of a step that are named; the others are counted."""


def images_of_step(images: ImageSet, batches: TrainBatches, step: int) -> list[str]:
    """Return the names of this process's images of a step, counted over the run."""
    return [images.describe(index) for index in batches.share(*divmod(step, len(batches)))]


def named_images(names: Sequence[str]) -> str:
    """Return the first of some images' names, and how many more there are, in words."""
    return few(names, NAMED)
