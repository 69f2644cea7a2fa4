"""Images with masks in a folder: `data.name: masks`."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading, open_image, open_regular
from senet.data.image_tree import LeftOut
from senet.data.mask_classes import MaskClasses, file_classes
from senet.data.mask_files import MaskFiles
from senet.data.mask_layout import EXPECTED, Pairs, find_pairs
from senet.data.mask_source import masked_source
from senet.data.masks import COLOUR, MaskKind, MaskReading, Palette, as_colour, distinct, mask_reading, read_raw_mask
from senet.data.source import DataSource, UnreadableImageError
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.measuring.numbers import plural
from senet.recipe import DataRecipe

MASKS_WITH_COLOURS = 50
"""Masks in which colours are looked for where no palette says them."""

MOST_COLOURS = 64
"""Colours that a message lists."""


def open_source(recipe: DataRecipe) -> DataSource:
    """Open images with masks in the recipe's root, and look at every mask once.

    Raises:
        UsageError: if the folder is not recognised, masks or images are missing, sizes differ, or labels are no class.
    """
    if recipe.root is None:
        raise UsageError(f"masks needs --data.root DIR; {EXPECTED}")
    root = user_path(recipe.root)
    if not root.is_dir():
        raise UsageError(f"data.root {recipe.root!r} is not a folder; {EXPECTED}")
    left_out = LeftOut()
    pairs = find_pairs(root, recipe.val_share, left_out)
    kind = recipe.masks or _kind(root, pairs["train"], recipe.max_pixels)
    if kind == "colour" and not recipe.palette:
        raise UsageError(f"{root}: {_wanted_palette(root, pairs['train'], recipe.max_pixels)}")
    reading = mask_reading(recipe, kind)
    notes = [f"{plural(len(found), 'image')} for {split} in {found.where}; masks by {reading.kind}" for split, found in pairs.items()]
    palette = reading.palette or _own_palette(root, pairs["train"], reading)
    return masked_source(
        recipe,
        {split: ImageFiles(root, found.images, None, ImageReading.of(recipe)) for split, found in pairs.items()},
        {split: MaskFiles(root, found.masks, reading) for split, found in pairs.items()},
        MaskClasses(reading, file_classes(root), dict(enumerate(palette))),
        (*notes, *left_out.notes()),
    )


def _kind(root: Path, pairs: Pairs, max_pixels: int) -> MaskKind:
    """Return what the pixels of masks say, by the name of their folder and the first mask that can be read."""
    if b"instances" in pairs.masks[0].lower().split(b"/"):
        return "instances"
    for name in pairs.masks.tolist():
        try:
            with open_regular(root / os.fsdecode(name)) as file, open_image(file, max_pixels) as image:
                return "colour" if image.mode in ("RGB", "RGBA") and not _is_grey(image) else "index"
        except Exception:  # what a damaged file raises depends on its format; it is counted where it is read
            continue
    return "index"


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return bool((pixels[:, :, :3] == pixels[:, :, :1]).all())


def _wanted_palette(root: Path, pairs: Pairs, max_pixels: int) -> str:
    """Say that a palette is missing, and which colours the first masks have: black first, then those of more pixels."""
    reading, pixels = MaskReading("colour", max_pixels=max_pixels), Counter[int]()
    for name in pairs.masks[:MASKS_WITH_COLOURS].tolist():
        try:
            codes, counts = distinct(read_raw_mask(root / os.fsdecode(name), reading))
        except UnreadableImageError:
            continue
        pixels.update(dict(zip((codes.astype(int) - COLOUR).tolist(), counts.tolist(), strict=True)))
    colours = [list(as_colour(code)) for code in sorted(pixels, key=lambda code: (code != 0, -pixels[code], code))]
    missing = "masks are colours, and data.palette does not say of which classes"
    if not 1 < len(colours) <= MOST_COLOURS:
        more = (
            f"; the first {len(pairs.masks[:MASKS_WITH_COLOURS])} masks have {len(colours)}: were they resized smoothly?" if colours else ""
        )
        return f"{missing}; give the colour of each, [[0, 0, 0], ...]{more}"
    return f"{missing}; in the order of your classes, the colours of the first masks are --data.palette '{colours}'"


def _own_palette(root: Path, pairs: Pairs, reading: MaskReading) -> Palette:
    """Return the palette in the first mask's file, if its indices are labels and it has one."""
    try:
        with open_regular(root / os.fsdecode(pairs.masks[0])) as file, open_image(file, reading.max_pixels) as image:
            values = image.getpalette() or [] if image.mode == "P" and reading.kind == "index" else []
    except Exception:  # as above
        return ()
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=False))
