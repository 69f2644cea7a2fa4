"""Classes in shards: the number of each in a file beside its image, and all of them in the index."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from senet.data.fingerprint import array_parts
from senet.data.folder import ImageFiles, class_input
from senet.data.image_file import ImageReading
from senet.data.kept import Arrays
from senet.recipe import DataRecipe
from senet.spec import InputSpec


class ClassForm:
    """Form of classes, see `senet.data.shards.forms.TargetForm`."""

    suffix = ".cls"
    kinds: Mapping[str, str] = {"targets": "i"}

    def fits(self, images: ImageFiles) -> bool:
        """Return whether each image has one class."""
        return type(images) is ImageFiles and isinstance(images.targets, np.ndarray)

    def identity(self, images: ImageFiles) -> Iterable[bytes]:
        """Yield the classes."""
        return array_parts(np.asarray(images.targets))

    def about_bytes(self, images: ImageFiles) -> np.ndarray:
        """Return zeros: a number fits into a block."""
        return np.zeros(len(images), np.int64)

    def file(self, images: ImageFiles, index: int) -> bytes:
        """Return the class in digits."""
        return str(int(images.targets[index])).encode()

    def arrays(self, images: ImageFiles, classes: int) -> Arrays:
        """Return the classes."""
        return {"targets": np.asarray(images.targets, np.int64)}

    def counts(self, arrays: Arrays, classes: int) -> np.ndarray:
        """Return the images of each class."""
        return np.bincount(arrays["targets"], minlength=classes)

    def is_sound(self, arrays: Arrays, images: int, classes: int) -> bool:
        """Return whether each image has one of the classes."""
        targets = arrays["targets"]
        return targets.shape == (images,) and bool(((targets >= 0) & (targets < classes)).all())

    def targets(self, arrays: Arrays, file: Callable[[int], bytes], describe: Callable[[int], str], reading: ImageReading) -> np.ndarray:
        """Return the classes, (N,) int64."""
        return arrays["targets"].astype(np.int64)

    def input(self, recipe: DataRecipe, arrays: Arrays) -> InputSpec:
        """Return the input of class folders."""
        return class_input(recipe)
