"""Masks in shards: a PNG file of class indices beside each image, 255 where nothing is known, whatever form the masks had."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from io import BytesIO

import numpy as np
from PIL import Image

from senet.data.image_file import ImageReading, open_image, unreadable
from senet.data.kept import Arrays
from senet.data.mask_files import MaskedImages
from senet.data.mask_source import mask_input
from senet.data.mask_statistics import MaskStatistics, mask_statistics
from senet.data.masks import IGNORE
from senet.data.source import UnreadableImageError
from senet.recipe import DataRecipe
from senet.spec import InputSpec

PIXELS_A_BYTE = 64
"""Pixels of masks that commonly fit into a byte of a PNG file."""

MASK_COUNTS = tuple(field.name for field in fields(MaskStatistics))


class MaskForm:
    """Form of masks, see `senet.data.shards.forms.TargetForm`."""

    suffix = ".mask.png"
    kinds: Mapping[str, str] = {"target_offsets": "i", "target_sizes": "i", "image_sizes": "i", **dict.fromkeys(MASK_COUNTS, "i")}

    def fits(self, images: object) -> bool:
        """Return whether images have masks."""
        return isinstance(images, MaskedImages)

    def identity(self, images: MaskedImages) -> Iterable[bytes]:
        """Yield what tells images and masks from others, and which label is which class."""
        yield images.fingerprint().encode()
        yield repr(images.targets.reading).encode()

    def about_bytes(self, images: MaskedImages) -> np.ndarray:
        """Return a guess by the images' pixels."""
        return images.scan.sizes.prod(axis=1) // PIXELS_A_BYTE

    def file(self, images: MaskedImages, index: int) -> bytes:
        """Return the mask as PNG."""
        file = BytesIO()
        try:
            Image.fromarray(images.targets[index]).save(file, "png")
        except UnreadableImageError:
            return b""
        return file.getvalue()

    def arrays(self, images: MaskedImages, classes: int) -> Arrays:
        """Return the sizes of the images, and counts of the classes."""
        statistics = mask_statistics(images, classes)
        return {"image_sizes": images.scan.sizes, **{name: getattr(statistics, name) for name in MASK_COUNTS}}

    def counts(self, arrays: Arrays, classes: int) -> np.ndarray:
        """Return the masks that hold each class."""
        return arrays["images"]

    def is_sound(self, arrays: Arrays, images: int, classes: int) -> bool:
        """Return whether shapes are right and no count is negative."""
        shapes = {"image_sizes": (images, 2), **dict.fromkeys(MASK_COUNTS, (classes,))}
        return all(arrays[name].shape == shape and bool((arrays[name] >= 0).all()) for name, shape in shapes.items())

    def targets(self, arrays: Arrays, file: Callable[[int], bytes], describe: Callable[[int], str], reading: ImageReading) -> "ShardMasks":
        """Return the masks, read when they are asked for."""
        statistics = MaskStatistics(*(arrays[name].astype(np.int64) for name in MASK_COUNTS))
        return ShardMasks(arrays["image_sizes"], statistics, file, describe, reading.max_pixels)

    def input(self, recipe: DataRecipe, arrays: Arrays) -> InputSpec:
        """Return the input of images with masks of such sizes."""
        return mask_input(recipe, arrays["image_sizes"])


class ShardMasks:
    """Masks of class indices in shards, each read when it is asked for.

    Args:
        sizes: (N, 2) width and height of each mask's image, upright; zeros for an image that cannot be read.
        statistics: counts of their classes.
        file: returns the file of a mask.
        describe: returns the name of its image.
        max_pixels: largest width x height.
    """

    def __init__(
        self, sizes: np.ndarray, statistics: MaskStatistics, file: Callable[[int], bytes], describe: Callable[[int], str], max_pixels: int
    ) -> None:
        self.sizes, self.statistics, self.file, self.describe, self.max_pixels = sizes, statistics, file, describe, max_pixels

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the mask of image `index`, (H, W) uint8.

        Raises:
            UnreadableImageError: if it could not be read when the shards were built, is larger than any image may be or of another size
                than its own, or holds what is no class.
        """
        content = self.file(index)
        with unreadable(f"mask of {self.describe(index)}"), open_image(BytesIO(content), self.max_pixels) as image:
            if image.mode != "L":
                raise ValueError(f"holds no class indices (mode {image.mode})")
            mask = np.array(image)
            width, height = self.sizes[index].tolist()
            if width and mask.shape != (height, width):
                raise ValueError(f"has {image.width} x {image.height} pixels, and its image {width} x {height}")
            known = mask[mask != IGNORE]
            if known.size and known.max() >= (classes := len(self.statistics.images)):
                raise ValueError(f"holds class {known.max()}, and there are {classes}")
            return mask
