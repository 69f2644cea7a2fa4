"""Images with masks in a folder: `data.name: masks`."""

import os
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
from senet.data.masks import MaskKind, MaskReading, Palette, mask_reading
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe


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
    reading = mask_reading(recipe, recipe.masks or _kind(root, pairs["train"], recipe.max_pixels))
    notes = [f"{len(found)} images for {split} in {found.where}; masks by {reading.kind}" for split, found in pairs.items()]
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


def _own_palette(root: Path, pairs: Pairs, reading: MaskReading) -> Palette:
    """Return the palette in the first mask's file, if its indices are labels and it has one."""
    try:
        with open_regular(root / os.fsdecode(pairs.masks[0])) as file, open_image(file, reading.max_pixels) as image:
            values = image.getpalette() or [] if image.mode == "P" and reading.kind == "index" else []
    except Exception:  # as above
        return ()
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=False))
