"""What every source of images gives: two sets of images with their targets, class names and the input they are meant for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import inf
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from senet.errors import UsageError, choice_error
from senet.recipe import DataRecipe, check_ranges
from senet.spec import InputSpec
from senet.userfile import in_user_file, load_function

SOURCES = {
    "digits": "senet.data.digits",
    "cifar10": "senet.data.cifar",
    "cifar100": "senet.data.cifar",
    "folder": "senet.data.folder",
    "shards": "senet.data.shards.source",
    "places365": "senet.data.places365",
    "masks": "senet.data.mask_folder",
    "coco_semantic": "senet.data.coco.semantic",
    "coco_panoptic": "senet.data.coco.panoptic",
    "boxes": "senet.data.box_folder",
    "coco_boxes": "senet.data.box_folder",
    "voc": "senet.data.box_folder",
    "yolo": "senet.data.box_folder",
    "volumes": "senet.data.volumes.source",
}
"""The home module of each source; its `open_source(recipe)` returns a `DataSource`, as a function of a user's file does."""


class UnreadableImageError(Exception):
    """Image that cannot be decoded; the message names it."""


class UnreadableName(str):
    """Name of an image that could not be read, which knows why.

    Args:
        name: by which a user finds it.
        error: what reading it raised.
    """

    reason: str

    def __new__(cls, name: str, error: object = "") -> Self:
        """Return the name; `reason` is the error's text without it."""
        made = super().__new__(cls, name)
        made.reason = " ".join(str(error).split()).rpartition(f"{name}: ")[2]
        return made


class Targets(Protocol):
    """Targets by the index of their image: an array of them, or a sequence that reads each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any:
        """Return the target of one image, or raise UnreadableImageError."""
        ...


class ImageSet(Protocol):
    """Images and their targets, read one at a time."""

    @property
    def targets(self) -> Targets:
        """What is to be predicted: for classification the class index of each image, (N,) int64."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether reading an image costs microseconds, so that no worker processes are needed."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Any:
        """Return image `index`, or raise UnreadableImageError.

        It is a PIL image, or a float32 array whose values the network sees as they are: (H, W, C), of a volume (D, H, W, C).
        """
        ...

    def describe(self, index: int) -> str:
        """Return the name by which a user finds image `index`."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory.

    Args:
        name: what the set is called in messages.
        pixels: (N, H, W) or (N, H, W, 3) uint8.
        targets: (N,) int64 classes, or what else is to be predicted of each image.
    """

    name: str
    pixels: np.ndarray
    targets: np.ndarray
    in_memory: bool = True

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Image.Image:
        """Return image `index`."""
        return Image.fromarray(self.pixels[index])

    def describe(self, index: int) -> str:
        """Return the set's name and the image's place in it."""
        return f"{self.name} image {index}"


@dataclass(frozen=True)
class DataSource:
    """Training and validation images of one problem.

    Args:
        name: the source's name.
        train: training images.
        val: validation images.
        classes: class names, in the order of their indices; empty where nothing is classified.
        input: size, channels and normalisation of what the network sees.
        notes: what a user should know of the images, one line each: what was left out.
        palette: (red, green, blue) to show each class in; None = nothing says so.
        patch: slices, rows and columns of what a network of three dimensions is trained on; None = images have two.
    """

    name: str
    train: ImageSet
    val: ImageSet
    classes: tuple[str, ...]
    input: InputSpec
    notes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] | None = None
    patch: tuple[int, int, int] | None = None


def open_data(recipe: DataRecipe) -> DataSource:
    """Open the images that a recipe names, and check all that can be checked before work starts.

    Args:
        recipe: its name is one of `SOURCES`, or path/to/file.py:function. Such a file is run; its function takes the recipe and returns a
            `DataSource`.

    Raises:
        UsageError: for values out of range, missing files, or another number of classes than the recipe says.
    """
    check_numbers(recipe)
    source = _opener(recipe.name)(recipe)
    if not isinstance(source, DataSource):
        raise UsageError(f"{recipe.name} returns {type(source).__name__}, which is not a senet.data.source.DataSource")
    found = len(source.classes)
    if recipe.num_classes not in (None, found):
        raise UsageError(
            f"data.num_classes is {recipe.num_classes} but {recipe.root or recipe.name} has {found} classes; "
            f"set it to {found}, or to null to take what is found"
        )
    return source


def _opener(name: str) -> Callable[[DataRecipe], DataSource]:
    if in_user_file(name):
        return load_function(name, "data source")
    if name not in SOURCES:
        raise choice_error("data", name, [*SOURCES, "path/to/file.py:function"])
    return import_module(SOURCES[name]).open_source


def check_numbers(recipe: DataRecipe) -> None:
    """Raise UsageError if a number of the recipe is outside what it can be; one that was built by itself was not checked before."""
    check_ranges("data", recipe)
    for name, high in (("scale", 1.0), ("ratio", inf)):
        first, last = getattr(recipe, name)
        if not 0 < first <= last <= high:
            raise UsageError(f"data.{name} must be two numbers, 0 < low <= high{' <= 1' if high == 1 else ''}, got {first} and {last}")
    if recipe.range is not None and not -inf < recipe.range[0] < recipe.range[1] < inf:
        raise UsageError(f"data.range must be two numbers, the values that are black and white, low < high, got {list(recipe.range)}")


def input_spec(recipe: DataRecipe, *, size: int, mean: tuple[float, ...], std: tuple[float, ...], resize_share: float = 1.0) -> InputSpec:
    """Return the source's own input with what the recipe says instead.

    Args:
        recipe: its image_size, eval_resize, mean and std win where they are set.
        size: the source's own image size, in pixels.
        mean: the source's own mean per channel.
        std: the source's own standard deviation per channel.
        resize_share: shorter side before the centre crop, as a multiple of the image size.

    Raises:
        UsageError: for another number of channels, or a standard deviation that is not positive.
    """
    for name, value in (("mean", recipe.mean), ("std", recipe.std)):
        if value is not None and len(value) != len(mean):
            raise UsageError(f"data.{name} must have {len(mean)} values for {recipe.name}, one per channel, got {list(value)}")
    if recipe.std is not None and min(recipe.std) <= 0:
        raise UsageError(f"data.std must be positive, got {list(recipe.std)}")
    size = recipe.image_size or size
    resize = recipe.eval_resize or round(size * resize_share)
    if resize < size:
        raise UsageError(f"data.eval_resize must be at least the image size, {size}, got {resize}")
    mean, std = recipe.mean or mean, recipe.std or std
    return InputSpec(size=size, resize=resize, channels=len(mean), mean=mean, std=std, range=recipe.range)
