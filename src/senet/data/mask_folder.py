"""Images with masks in a folder: `data.name: masks`."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from senet.data.image_file import ImageReading, open_image, open_regular
from senet.data.image_tree import LeftOut
from senet.data.mask_classes import check_labels, named_classes, noted_classes, resolved
from senet.data.mask_files import MaskedImageFiles
from senet.data.mask_layout import EXPECTED, Pairs, find_pairs
from senet.data.mask_scan import MaskScan, scan_masks
from senet.data.masks import MaskKind, MaskReading, Palette, mask_reading
from senet.data.palettes import voc_palette
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.text import printable
from senet.weights.releases.library import IMAGENET

GREY_MEAN, GREY_STD = (0.449,), (0.226,)
"""Means of ImageNet's over its channels, for networks of one channel."""

LARGEST_CROP = 512
"""Largest side of a training crop, in pixels, where nothing is said; CROP_STEP divides it."""

CROP_STEP = 32
"""Such sides are multiples of this: what networks of five halvings need not pad."""


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
    kind = recipe.masks or _kind(root, pairs["train"], recipe)
    reading = mask_reading(recipe, kind)
    scans = {split: scan_masks(root, found.images, found.masks, ImageReading.of(recipe), reading) for split, found in pairs.items()}
    return masked_source("masks", root, recipe, pairs, reading, scans, left_out.notes())


def masked_source(
    name: str,
    root: Path,
    recipe: DataRecipe,
    pairs: Mapping[str, Pairs],
    reading: MaskReading,
    scans: Mapping[str, MaskScan],
    notes: tuple[str, ...] = (),
) -> DataSource:
    """Return images with masks in files as a source, all that the scans of their masks show checked.

    Raises:
        UsageError: for labels that are no class, or more masks that cannot be read than `data.max_corrupt` allows.
    """
    reading, scans = resolved(recipe, reading, scans)
    classes = named_classes(root, recipe, reading, scans)
    reading = replace(reading, classes=len(classes))
    for split, found in pairs.items():
        check_labels(root, found.masks, reading, scans[split], recipe.max_corrupt)
    sets = {
        split: MaskedImageFiles(root, found.images, found.masks, ImageReading.of(recipe), reading, scans[split])
        for split, found in pairs.items()
    }
    places = "; ".join(f"{len(found)} images for {split} in {found.where}" for split, found in pairs.items())
    seen = (f"{places}; masks by {reading.kind}, {len(classes)} classes", *noted_classes(classes, pairs, reading, scans), *notes)
    return DataSource(
        name=name,
        train=sets["train"],
        val=sets["val"],
        classes=classes,
        input=_input(recipe, scans["train"]),
        notes=tuple(f"{root}: {printable(note, None)}" for note in seen),
        palette=_palette(root, pairs["train"], reading, len(classes), recipe.max_pixels),
    )


def _kind(root: Path, pairs: Pairs, recipe: DataRecipe) -> MaskKind:
    """Return what the pixels of masks say, by the name of their folder and the first mask that can be read."""
    if b"instances" in pairs.masks[0].lower().split(b"/"):
        return "instances"
    for name in pairs.masks.tolist():
        try:
            with open_regular(root / os.fsdecode(name)) as file, open_image(file, recipe.max_pixels) as image:
                return "colour" if image.mode in ("RGB", "RGBA") and not _is_grey(image) else "index"
        except Exception:  # what a damaged file raises depends on its format; it is counted where it is read
            continue
    return "index"


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return bool((pixels[:, :, :3] == pixels[:, :, :1]).all())


def _input(recipe: DataRecipe, scan: MaskScan) -> InputSpec:
    """Return the input, by default crops as large as half of the images are, up to `LARGEST_CROP`."""
    known = scan.sizes[scan.sizes.any(axis=1)]
    side = int(np.median(known.min(axis=1))) if len(known) else LARGEST_CROP
    side = max(CROP_STEP, min(LARGEST_CROP, side) // CROP_STEP * CROP_STEP)
    grey = len(recipe.mean or recipe.std or IMAGENET.mean) == 1
    return input_spec(recipe, size=side, mean=GREY_MEAN if grey else IMAGENET.mean, std=GREY_STD if grey else IMAGENET.std)


def _palette(root: Path, pairs: Pairs, reading: MaskReading, classes: int, max_pixels: int) -> Palette:
    """Return a colour for each class: of its first label in the recipe's palette, else in that of the first mask, else PASCAL VOC's."""
    labels = reading.palette or (_own_palette(root / os.fsdecode(pairs.masks[0]), max_pixels) if reading.kind == "index" else ())
    colours = dict(enumerate(voc_palette(classes)))
    for label in reversed(range(len(labels))):
        if (found := reading.class_of(label)) is not None and found < classes:
            colours[found] = labels[label]
    return tuple(colours[index] for index in range(classes))


def _own_palette(path: Path, max_pixels: int) -> Palette:
    try:
        with open_regular(path) as file, open_image(file, max_pixels) as image:
            values = image.getpalette() or [] if image.mode == "P" else []
    except Exception:  # as above
        return ()
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=False))
