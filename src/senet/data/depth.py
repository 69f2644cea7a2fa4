"""Values of images that are deeper than 8 bits: which of them are black and white is stated, never guessed from the values."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

SIXTEEN_BITS = ("PNG", "PPM", "JPEG2000")
"""Formats whose values fill 16 bits whatever Pillow stores them in: Pillow scales by the largest value that the file states."""

BITS, COMPRESSION, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT, SMALLEST_SAMPLE, LARGEST_SAMPLE = 258, 259, 262, 284, 339, 340, 341
"""Tags of TIFF 6.0. MinSampleValue and MaxSampleValue (280, 281) are statistics there, "not to be used to affect the appearance"."""

SIGNED, WHITE_IS_ZERO, SEPARATE, UNCOMPRESSED = 2, 0, 2, 1
"""Values of SAMPLE_FORMAT, PHOTOMETRIC, PLANAR and COMPRESSION."""

SAMPLES = {"f": "floats", "i": "signed", "u": "unsigned"}

ROWS = 256
"""Rows that are scaled at a time, which bounds the memory."""


def eight_bits(image: Image.Image, stated: tuple[float, float] | None = None) -> Image.Image:
    """Load an image and return it with 8 bits a channel; one that has them is returned as it is.

    Values are scaled so that `low` becomes 0 and `high` 255, and clipped. The range is the stated one; else what the file says: the tags
    SMinSampleValue and SMaxSampleValue of TIFF, or the width of values that are unsigned and of at most 16 bits; else 0 to 1 for floats
    that are all in it.

    Args:
        image: an image; its pixels need not be loaded.
        stated: (low, high), the values that are black and white.

    Raises:
        ValueError: if nothing says what the values mean, if some are not finite, if a range is stated for colours of 16 bits, of which
            Pillow keeps 8, or if such colours lie plane by plane and uncompressed, which Pillow reads as if they had 8.
    """
    tags = dict(getattr(image, "tag_v2", None) or {})  # before the pixels: loading drops some
    if not is_deep(image):
        if stated not in (None, (0, 65535)) and ";16" in str(getattr(image, "tile", "")):
            raise ValueError(f"has colours of 16 bits ({image.mode}), of which Pillow keeps the upper 8: data.range cannot be applied")
        if max(tags.get(BITS) or (8,)) > 8 and tags.get(PLANAR) == SEPARATE and tags.get(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED:
            raise ValueError(f"has colours of 16 bits ({image.mode}) plane by plane, which Pillow misreads: compress or interleave them")
        image.load()
        return image
    image.load()
    values = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"has values that are not finite (floats, mode {image.mode})")
    if image.mode == "L":
        values = values.view(np.int8)
    elif image.mode == "I" and tags.get(BITS) == (32,) and not _is_signed(tags):
        values = values.view(np.uint32)
    low, high = stated or _stated_by_file(image, tags) or _of_floats(image, values)
    bands = [_scaled(values[row : row + ROWS], low, high) for row in range(0, len(values), ROWS)]
    scaled = np.concatenate(bands)
    return Image.fromarray(~scaled if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else scaled)


def is_deep(image: Image.Image) -> bool:
    """Return whether the values of an image are other than unsigned bytes, so that a range applies to them."""
    return image.mode.startswith(("I", "F")) or (image.mode == "L" and _is_signed(getattr(image, "tag_v2", None) or {}))


def _is_signed(tags: Mapping[int, Any]) -> bool:
    return tags.get(SAMPLE_FORMAT) == (SIGNED,)


def _stated_by_file(image: Image.Image, tags: Mapping[int, Any]) -> tuple[float, float] | None:
    low, high = _number(tags.get(SMALLEST_SAMPLE)), _number(tags.get(LARGEST_SAMPLE))
    if low is not None and high is not None and low < high:
        return low, high
    if image.mode.startswith("I;16"):
        return 0, 2 ** min((tags.get(BITS) or (16,))[0], 16) - 1
    return (0, 65535) if image.mode == "I" and image.format in SIXTEEN_BITS else None


def _of_floats(image: Image.Image, values: np.ndarray) -> tuple[float, float]:
    if image.mode == "F" and values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0
    raise ValueError(
        f"has values from {values.min():g} to {values.max():g} ({SAMPLES[values.dtype.kind]}, {8 * values.dtype.itemsize} bits, "
        f"mode {image.mode}), and nothing says which are black and white: give --data.range LOW,HIGH"
    )


def _number(value: Any) -> float | None:
    """Return a tag's one finite number."""
    (value,) = value if isinstance(value, tuple) and len(value) == 1 else (value,)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values as uint8: whole numbers in 256 equal steps, as dropping low bits does, floats rounded."""
    if values.dtype.kind == "f":
        levels = (values.astype(np.float64) - low) * (255 / (high - low)) + 0.5
    else:
        levels = (values.astype(np.float64) - low) * 256 / (high - low + 1)
    return np.clip(np.floor(levels), 0, 255).astype(np.uint8)
