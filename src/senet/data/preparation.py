"""From the images of a source to batches: what a loader asks of whoever knows the targets, and the form for targets that stand still."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from senet.data.batch import Batch, Sample, collate
from senet.data.transforms import train_transform
from senet.data.views import Views, view_transform
from senet.recipe import DataRecipe
from senet.spec import InputSpec

TrainPair = Callable[[Image.Image, Any, np.random.Generator], tuple[Any, Any]]
"""(image, target, the sample's own random numbers) -> what `collate` takes."""

EvalPair = Callable[[Image.Image, Any], tuple[Any, Any]]
"""(image, target) -> what `collate` takes."""


class Preparation(Protocol):
    """Path of images and targets into batches; every task is one."""

    def train_transform(self, recipe: DataRecipe, spec: InputSpec) -> TrainPair:
        """Return what augments a training image together with its target; its random numbers are those that it is given, no others."""
        ...

    def eval_transform(self, spec: InputSpec, views: Views) -> EvalPair:
        """Return what becomes of an image and its target in evaluation; the target is None where only a prediction is wanted."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join samples, of which some may hold no image."""
        ...


@dataclass(frozen=True)
class ImageAlone:
    """Transform of a pair that leaves the target as it is."""

    transform: Callable[..., Any]

    def __call__(self, image: Image.Image, target: Any, *random: np.random.Generator) -> tuple[Any, Any]:
        """Return the transformed image and the target."""
        return self.transform(image, *random), target


class ImagePreparation:
    """Preparation for targets that say something about an image as a whole, which no augmentation changes."""

    def train_transform(self, recipe: DataRecipe, spec: InputSpec) -> TrainPair:
        """Return (image, target, random numbers) -> ((C, size, size) float32, target)."""
        return ImageAlone(train_transform(recipe, spec))

    def eval_transform(self, spec: InputSpec, views: Views) -> EvalPair:
        """Return (image, target) -> ((C, size, size) float32, or (views, C, size, size) for several views; target)."""
        return ImageAlone(view_transform(spec, views))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack images and targets."""
        return collate(samples)
