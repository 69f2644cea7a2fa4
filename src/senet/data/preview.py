"""Images as pictures for people: whatever a set of images reads, in RGB and no larger than asked."""

import io
from typing import Any

import numpy as np
from PIL import Image

LOSSLESS_BYTES = 40_000
"""Bytes up to which a picture is kept without loss, as maps of few colours are."""

QUALITY = 90
"""Quality of the others, in WebP's measure."""


def preview(image: Any, side: int | None = None) -> Image.Image:
    """Return what `ImageSet.read` gives as a picture in RGB.

    Args:
        image: an image, or a float32 array (H, W, C), of which the channel in the middle is shown (of neighbouring slices, the slice
            itself), its lowest value black and its highest white.
        side: pixels of the longest side that a larger picture is reduced to; None = it keeps its size.
    """
    picture = image.convert("RGB") if isinstance(image, Image.Image) else grey_picture(image[..., image.shape[-1] // 2])
    return picture if side is None else reduced(picture, side)


def grey_picture(values: np.ndarray) -> Image.Image:
    """Return values (H, W) in RGB, the lowest black and the highest white."""
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(np.round((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)).convert("RGB")


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture whose longest side has at most so many pixels, its shape kept; one that is small enough is returned as it is."""
    longest = max(picture.size)
    if longest <= side:
        return picture
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def webp_of(picture: Image.Image) -> bytes:
    """Return a picture as WebP: without loss where that takes little room."""
    exact = io.BytesIO()
    picture.save(exact, "WEBP", lossless=True, method=4)
    if exact.tell() <= LOSSLESS_BYTES:
        return exact.getvalue()
    lossy = io.BytesIO()
    picture.save(lossy, "WEBP", quality=QUALITY, method=4)
    return min(exact.getvalue(), lossy.getvalue(), key=len)
