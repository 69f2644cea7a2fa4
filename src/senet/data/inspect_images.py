"""A look at some of the images of a source: whether they can be read, and what of them is easily overlooked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from senet.data.depth import is_deep
from senet.data.folder import ImageFiles
from senet.data.image_file import open_image, open_regular
from senet.data.source import ImageSet, UnreadableImageError
from senet.errors import reason_of

DARK = 64
"""Brightness, of 255, that images of more than 8 bits stay below if their values do not fill the range that they are read by."""


@dataclass(frozen=True)
class ImageFindings:
    """Outcome of a look at some images.

    Args:
        looked_at: how many.
        unreadable: what is wrong with those that cannot be read, one line each.
        notes: what is true of some of the others and easily overlooked, one line each.
    """

    looked_at: int
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_images(sets: Iterable[ImageSet], sampled: int) -> ImageFindings:
    """Read up to `sampled` images of each set, evenly spread over it."""
    looked_at, unreadable = 0, []
    facts: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    brightest = 0
    for images in sets:
        for index in range(0, len(images), max(1, -(-len(images) // sampled))):
            looked_at += 1
            try:
                image = images.read(index)
                if isinstance(images, ImageFiles):
                    found, mode = _facts(images.path(index), images.reading.max_pixels)
                    facts.update(found)
                    if mode is not None:
                        modes[mode] += 1
                        brightest = max(brightest, int(np.asarray(image.convert("L")).max()))
            except UnreadableImageError as error:
                unreadable.append(reason_of(error))
    notes = [f"{count} of {looked_at} images looked at {fact}" for fact, count in facts.items()]
    if modes:
        named = ", ".join(f"{mode} {count}" for mode, count in modes.items())
        notes.append(f"{modes.total()} of {looked_at} images looked at have more than 8 bits ({named})")
        if brightest < DARK:
            notes[-1] += f" and are nearly black: their brightest value is {brightest} of 255; say what is white, data.range LOW,HIGH"
    return ImageFindings(looked_at, tuple(unreadable), tuple(notes))


def _facts(path: Path, max_pixels: int) -> tuple[list[str], str | None]:
    """Return what a reader of an image file drops, and the mode of an image of more than 8 bits."""
    with open_regular(path) as file, open_image(file, max_pixels) as image:
        deep, facts = is_deep(image), []
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # photographs of phones hold a second, smaller picture
            facts.append("have several frames, of which the first is read")
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            facts.append("are transparent in places: the colours are taken, whatever shines through")
        return facts, image.mode if deep else None
