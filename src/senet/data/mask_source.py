"""From images and masks, wherever they come from, to a source that has been looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from senet.data.folder import ImageFiles
from senet.data.image_tree import few
from senet.data.mask_classes import MaskClasses, background_note, check_labels, check_readable, noted_classes
from senet.data.mask_files import MaskedImages
from senet.data.mask_scan import RawMasks, scan_masks
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.text import printable
from senet.weights.releases.library import IMAGENET

GREY_MEAN, GREY_STD = (0.449,), (0.226,)
"""Means of ImageNet's over its channels, for networks of one channel."""

LARGEST_CROP = 512
"""Largest side of a training crop, in pixels, where nothing is said."""

MANY_CLASSES = 16
"""More classes than labels commonly say: it may be objects that they number."""

CROP_STEP = 32
"""Such sides are multiples of this: networks of up to five halvings need not pad them."""


def masked_source(
    recipe: DataRecipe, images: Mapping[str, ImageFiles], masks: Mapping[str, RawMasks], classes: MaskClasses, notes: tuple[str, ...]
) -> DataSource:
    """Return images with masks as a source; every mask was looked at.

    Args:
        recipe: names the source.
        images: those of "train" and "val"; their targets are not used.
        masks: their masks.
        classes: what is known of labels and classes before the masks are looked at.
        notes: what a user should know of what was found.

    Raises:
        UsageError: for masks of another size than their image, labels that are no class, or more masks that cannot be read than
            `data.max_corrupt` allows.
    """
    root = images["train"].root
    try:
        scans = {split: scan_masks(images[split], masks[split], classes.reading) for split in images}
        for split, scan in scans.items():
            check_readable(masks[split], scan, recipe.max_corrupt)
        reading, scans = classes.resolved(recipe, scans)
        names = classes.names_of(recipe, reading, scans)
        reading = replace(reading, classes=len(names))
        for split, scan in scans.items():
            check_labels(masks[split], reading, scan)
    except UsageError as error:
        raise UsageError(f"{root}: {error}") from error
    sets = {split: MaskedImages(images[split], masks[split], reading, scans[split]) for split in images}
    named = recipe.classes or classes.names or ()
    added = (background_note(names[1]),) if len(named) == 1 < len(names) else ()
    said = () if named else (_said(names),)
    seen = (*notes, *said, *added, *noted_classes(names, masks, scans))
    return DataSource(
        name=recipe.name,
        train=sets["train"],
        val=sets["val"],
        classes=names,
        input=mask_input(recipe, scans["train"].sizes),
        notes=tuple(f"{root}: {printable(note, None)}" for note in seen),
        palette=classes.colours(reading, len(names)),
    )


def _said(names: Sequence[str]) -> str:
    objects = " (if the labels number objects: --data.masks instances)" if len(names) > MANY_CLASSES else ""
    return f"{len(names)} classes by the labels of the masks, {few(names)}; data.classes names them{objects}"


def crop_side(side: int) -> int:
    """Return the side of training crops of images with shorter sides of `side`: a multiple of `CROP_STEP`, up to `LARGEST_CROP`."""
    return max(CROP_STEP, min(LARGEST_CROP, side) // CROP_STEP * CROP_STEP)


def mask_input(recipe: DataRecipe, sizes: np.ndarray) -> InputSpec:
    """Return the input of images with masks of (N, 2) widths and heights.

    By default it is crops of the shorter side that half of the images have at least, up to `LARGEST_CROP`.
    """
    known = sizes[sizes.any(axis=1)]
    side = int(np.median(known.min(axis=1))) if len(known) else LARGEST_CROP
    side = crop_side(side)
    grey = len(recipe.mean or recipe.std or IMAGENET.mean) == 1
    return input_spec(recipe, size=side, mean=GREY_MEAN if grey else IMAGENET.mean, std=GREY_STD if grey else IMAGENET.std)
