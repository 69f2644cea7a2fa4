"""Masks as pictures: by a palette, over their image, and beside the truth."""

import numpy as np
from PIL import Image

from senet.data.masks import IGNORE, Palette

TINT = 0.4
"""Share of a class's colour in what lies under it."""

MISSED, FALSE, CONFUSED = (33, 102, 172), (230, 97, 1), (200, 60, 160)
"""Colours of errors: an object's pixels that are taken for background, background taken for an object, and one object taken for another."""

ERRORS = {"missed: under-segmented": MISSED, "false: over-segmented": FALSE, "another class": CONFUSED}
"""What an error is -> its colour."""


def coloured(mask: np.ndarray, palette: Palette) -> Image.Image:
    """Return a mask (H, W) uint8 as an image of indices, mode P, with a colour for each class; ignored pixels are white."""
    image = Image.fromarray(mask).convert("L")
    indexed = Image.frombytes("P", image.size, image.tobytes())
    shown = [*palette[:IGNORE], *[(255, 255, 255)] * (256 - min(len(palette), IGNORE))] if (mask == IGNORE).any() else palette
    indexed.putpalette([value for colour in shown for value in colour])
    return indexed


def tinted(image: Image.Image, mask: np.ndarray, palette: Palette) -> Image.Image:
    """Return an image in RGB under the colours of its mask's classes; black ones and ignored pixels stay as they are."""
    pixels, (colours, shown) = np.asarray(image.convert("RGB"), np.float32), _table(palette)
    share = TINT * shown[mask][..., None]
    return Image.fromarray(np.rint(pixels * (1 - share) + colours[mask] * share).astype(np.uint8))


def outlined(image: Image.Image, mask: np.ndarray, palette: Palette) -> Image.Image:
    """Return an image in RGB with the innermost pixels of each region in its class's colour; a black class has no outline."""
    pixels, (colours, shown) = np.array(image.convert("RGB")), _table(palette)
    inner = np.zeros(mask.shape, bool)
    for axis in range(2):
        differs = np.diff(mask.astype(np.int16), axis=axis) != 0
        first, second = [(slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None))]
        inner[first] |= differs
        inner[second] |= differs
    edge = inner & (shown[mask] > 0)
    pixels[edge] = colours[mask[edge]]
    return Image.fromarray(pixels)


def mask_errors(image: Image.Image, truth: np.ndarray, found: np.ndarray, background: int | None) -> Image.Image:
    """Return an image in grey in which each pixel that is predicted wrongly has its error's colour, see `ERRORS`.

    Args:
        image: of any mode.
        truth: (H, W) uint8; ignored pixels are no errors.
        found: (H, W) uint8, what is predicted.
        background: class that is no object; None = all are objects.
    """
    pixels = np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2) // 3 + 160
    wrong = (truth != found) & (truth != IGNORE)
    missed, false = wrong & (found == background), wrong & (truth == background)
    for error, colour in ((missed, MISSED), (false, FALSE), (wrong & ~missed & ~false, CONFUSED)):
        pixels[error] = colour
    return Image.fromarray(pixels)


def _table(palette: Palette) -> tuple[np.ndarray, np.ndarray]:
    """Return the colour of every index, (256, 3) uint8, and 1 for those that are shown, (256,)."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours, (colours > 0).max(axis=1).astype(np.float32)
