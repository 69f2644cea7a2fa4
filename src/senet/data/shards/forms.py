"""What lies beside each image in shards, and what their index says of targets: a form for each task."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading
from senet.data.kept import Arrays
from senet.data.shards.box_form import BoxForm
from senet.data.shards.class_form import ClassForm
from senet.data.shards.mask_form import MaskForm
from senet.recipe import DataRecipe
from senet.spec import InputSpec

TARGET_PLACES = ("target_offsets", "target_sizes")
"""Arrays of a form whose targets are read of the files beside the images: where in the image's shard each begins, and its bytes."""


class TargetForm(Protocol):
    """Form of the targets of one task.

    Args:
        suffix: of the file beside each image.
        kinds: array of the index that says something of targets -> the kind of its type; `TARGET_PLACES`, if among them, are added by
            whoever writes the shards.
    """

    suffix: str
    kinds: Mapping[str, str]

    def fits(self, images: Any) -> bool:
        """Return whether a set of images is written in this form."""
        ...

    def identity(self, images: Any) -> Iterable[bytes]:
        """Yield what tells these targets from others."""
        ...

    def about_bytes(self, images: Any) -> np.ndarray:
        """Return about how many bytes the file beside each image has, beyond a block of 512: (N,) int64."""
        ...

    def file(self, images: Any, index: int) -> bytes:
        """Return the file beside an image; it is empty if the target cannot be read."""
        ...

    def arrays(self, images: Any, classes: int) -> Arrays:
        """Return what the index says of the targets."""
        ...

    def counts(self, arrays: Arrays, classes: int) -> np.ndarray:
        """Return how often each class occurs: (C,) int64."""
        ...

    def is_sound(self, arrays: Arrays, images: int, classes: int) -> bool:
        """Return whether arrays, of the kinds that they must be, can be those of so many images and classes."""
        ...

    def targets(self, arrays: Arrays, file: Callable[[int], bytes], describe: Callable[[int], str], reading: ImageReading) -> Any:
        """Return the targets of sound arrays.

        Args:
            arrays: of the index.
            file: returns the file beside an image.
            describe: returns the name of an image.
            reading: how images are read.
        """
        ...

    def input(self, recipe: DataRecipe, arrays: Arrays) -> InputSpec:
        """Return what the network sees."""
        ...


TARGET_FORMS: Mapping[str, TargetForm] = {"classification": ClassForm(), "segmentation": MaskForm(), "detection": BoxForm()}
"""Task -> the form of its targets."""


def task_of(images: Any) -> str | None:
    """Return the task whose targets a set of images has, or None if shards have no form for them."""
    return next((task for task, form in TARGET_FORMS.items() if isinstance(images, ImageFiles) and form.fits(images)), None)
