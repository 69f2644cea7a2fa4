"""From an image to the tensor a network sees: the papers' augmentations for training, resize and crop for evaluation.

Random numbers come from a generator that the caller passes, one per sample. Geometry is Pillow's and NumPy's, which cost a fraction of what
tensor operations cost on images as small as CIFAR's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image

from senet.data.depth import eight_bits, is_deep
from senet.data.source import UnreadableImageError
from senet.errors import UsageError, choice_error
from senet.recipe import DataRecipe
from senet.spec import InputSpec

MODES = {1: "L", 3: "RGB"}
CHANNEL_SLICES = {"rgb": slice(None), "bgr": slice(None, None, -1)}
"""Order of the channels that the network sees -> how they follow from Pillow's."""
LARGEST_RESIZED = 64_000_000
"""Most pixels of an image after its shorter side was resized; only one that is a thousand times longer than wide has more."""

CROP_TRIES = 10
"""Windows that a random-resized crop draws before it takes the central one."""

BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class TrainTransform:
    """Augmentation of one training image.

    Order as in the CIFAR code of fb.resnet.torch and of Cutout: normalise, mirror, crop from a zero-padded image, cut out. So padding and
    holes are zeros after normalisation, the mean colour.
    """

    recipe: DataRecipe
    spec: InputSpec

    def __call__(self, image: Image.Image, random: np.random.Generator) -> torch.Tensor:
        """Return (C, size, size) float32."""
        recipe, size = self.recipe, self.spec.size
        if recipe.rotation:
            image = image.rotate(random.uniform(-recipe.rotation, recipe.rotation), BILINEAR)
        if recipe.crop == "random_resized":
            image = random_resized_crop(image, size, recipe.scale, recipe.ratio, random)
        else:
            image = centre_crop(resize_shorter(image, self.spec.resize), size)
        jitter = random.uniform(-recipe.jitter, recipe.jitter, self.spec.channels) if recipe.jitter else None
        x = normalise_pixels(image, self.spec, jitter)
        if recipe.flip and random.random() < 0.5:
            x = x[:, :, ::-1]
        if recipe.crop == "pad":
            x = random_window(x, recipe.pad, random)
        x = np.ascontiguousarray(x)
        if recipe.cutout:
            cutout(x, recipe.cutout, random)
        return torch.from_numpy(x)


@dataclass(frozen=True)
class EvalTransform:
    """One or more crops of an image whose shorter side was resized."""

    spec: InputSpec
    crops: Callable[[Image.Image, int], list[Image.Image]]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return (C, size, size) float32 for one crop, (crops, C, size, size) for more."""
        views = self.crops(resize_shorter(image, self.spec.resize), self.spec.size)
        tensors = [torch.from_numpy(normalise_pixels(view, self.spec)) for view in views]
        return tensors[0] if len(tensors) == 1 else torch.stack(tensors)


def train_transform(recipe: DataRecipe, spec: InputSpec) -> TrainTransform:
    """Return what a recipe does to a training image: (image, random numbers) -> (C, size, size) float32."""
    return TrainTransform(recipe, spec)


def eval_transform(spec: InputSpec, crops: str = "centre") -> EvalTransform:
    """Return what evaluation does to an image: image -> (C, size, size), or (10, C, size, size) for crops="ten".

    Raises:
        UsageError: for an unknown name of crops.
    """
    if crops not in CROPS:
        raise choice_error("crops", crops, CROPS)
    return EvalTransform(spec, CROPS[crops])


def resize_shorter(image: Image.Image, side: int) -> Image.Image:
    """Resize so that the shorter side is `side` pixels, bilinear and antialiased.

    Raises:
        UnreadableImageError: if the image is so narrow that the result would have more than `LARGEST_RESIZED` pixels.
    """
    size = size_by_shorter(*image.size, side)
    return image if size == image.size else image.resize(size, BILINEAR)


def size_by_shorter(width: int, height: int, side: int) -> tuple[int, int]:
    """Return width and height of an image after its shorter side was resized to `side` pixels.

    Raises:
        UnreadableImageError: if the image is so narrow that the result would have more than `LARGEST_RESIZED` pixels.
    """
    if min(width, height) == side:
        return width, height
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if size[0] * size[1] > LARGEST_RESIZED:
        raise UnreadableImageError(f"{width} x {height} pixels are too narrow: it would be resized to {size[0]} x {size[1]}")
    return size


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Cut the central square of `side` pixels."""
    width, height = image.size
    if width == height == side:
        return image
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def one_crop(image: Image.Image, side: int) -> list[Image.Image]:
    """Cut the centre alone."""
    return [centre_crop(image, side)]


def five_crops(image: Image.Image, side: int) -> list[Image.Image]:
    """Cut the four corners and the centre."""
    right, bottom = image.width - side, image.height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    return [*(image.crop((left, top, left + side, top + side)) for left, top in corners), centre_crop(image, side)]


def ten_crops(image: Image.Image, side: int) -> list[Image.Image]:
    """Cut the corners and the centre of the image and of its mirror image (Krizhevsky et al. 2012)."""
    return [*five_crops(image, side), *five_crops(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), side)]


CROPS = {"centre": one_crop, "ten": ten_crops}


def random_resized_crop(
    image: Image.Image, side: int, scale: tuple[float, float], ratio: tuple[float, float], random: np.random.Generator
) -> Image.Image:
    """Cut a window of random area and aspect ratio and resize it to a square (GoogLeNet, Szegedy et al. 2015).

    Args:
        image: any size.
        side: side of the result, in pixels.
        scale: range of the window's share of the area, uniform.
        ratio: range of width / height, uniform in its logarithm.
        random: source of randomness.
    """
    width, height = image.size
    for _ in range(CROP_TRIES):
        area = width * height * random.uniform(*scale)
        aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            break
    else:  # no window fits: the largest central one of an allowed aspect
        aspect = min(max(width / height, ratio[0]), ratio[1])
        w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
        left, top = (width - w) // 2, (height - h) // 2
    return image.crop((left, top, left + w, top + h)).resize((side, side), BILINEAR)


def normalise_pixels(image: Image.Image, spec: InputSpec, jitter: np.ndarray | None = None) -> np.ndarray:
    """Return (value / 255 - mean) / std per channel, as (C, H, W) float32 in the spec's order of channels.

    Args:
        image: converted to 8 bits and the spec's number of channels if it has others.
        spec: mean and standard deviation, for values in 0..1, and the order of the channels.
        jitter: (C,) what is added to each channel first, in 1/255.

    Raises:
        UnreadableImageError: if the image has more than 8 bits, and nothing says which of its values are black and white.
    """
    pixels = np.asarray(network_image(image, spec))
    x = pixels.reshape(*pixels.shape[:2], spec.channels).transpose(2, 0, 1)[CHANNEL_SLICES[spec.order]].astype(np.float32, order="C")
    scale, shift = scale_and_shift(spec)
    x *= scale
    x += shift if jitter is None else shift + scale * per_channel(jitter)
    return x


def network_image(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Return an image in 8 bits with the channels that the network sees.

    Raises:
        UnreadableImageError: if it has more bits, and nothing says which of its values are black and white.
        UsageError: if the network sees another number of channels than image files are read with.
    """
    if is_deep(image):
        try:
            image = eight_bits(image, spec.range)
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error
    if spec.channels not in MODES:
        raise UsageError(
            f"the network takes images of {spec.channels} channels, and image files are read with {' or '.join(map(str, MODES))}"
        )
    mode = MODES[spec.channels]
    return image if image.mode == mode else image.convert(mode)


@cache
def scale_and_shift(spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return what each value of a pixel is multiplied by, and what is added then: (C, 1, 1) float32 each."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return per_channel(1 / (255 * std)), per_channel(-mean / std)


def per_channel(values: np.ndarray) -> np.ndarray:
    """Shape (C,) numbers so that they apply to (C, H, W) float32."""
    return values.astype(np.float32)[:, None, None]


def random_window(x: np.ndarray, pad: int, random: np.random.Generator) -> np.ndarray:
    """Pad (C, H, W) with `pad` zeros on each side and cut a random window of the old size."""
    channels, height, width = x.shape
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad), x.dtype)
    padded[:, pad : pad + height, pad : pad + width] = x
    top, left = random.integers(2 * pad + 1, size=2)
    return padded[:, top : top + height, left : left + width]


def cutout(x: np.ndarray, side: int, random: np.random.Generator) -> None:
    """Set a square of (C, H, W) to zero, in place; its centre is any pixel, so it may hang over the edge (DeVries and Taylor 2017)."""
    top, left = random.integers(x.shape[1]) - side // 2, random.integers(x.shape[2]) - side // 2
    x[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
