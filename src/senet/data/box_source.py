"""From images and what files say of their boxes, of whatever format, to a source that has been looked at."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from senet.data.box_checks import remark, settled
from senet.data.box_files import BoxedImages
from senet.data.box_marks import UNLISTED, Annotated, FoundBoxes
from senet.data.folder import ImageFiles
from senet.data.image_file import TRANSPOSING, open_image, open_regular, orientation
from senet.data.kept import kept_arrays
from senet.data.mask_layout import held_out
from senet.data.mask_scan import each_answer, file_states
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError, choice_error
from senet.file_kind import user_path
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.text import printable
from senet.weights.releases.library import IMAGENET

LARGEST_DEFAULT_SIDE = 800
"""Largest shorter side of images, in pixels, where nothing is said: that of Detectron."""

SIDE_STEP = 32
"""Such sides are multiples of this, the stride of backbones."""

MASK_FIELDS = ("masks", "palette", "label_map", "ignore_index")
"""Fields of a recipe that say nothing of boxes."""


def boxes_root(recipe: DataRecipe, expected: str) -> Path:
    """Return the folder of a source of boxes; `expected` says what it must hold.

    Raises:
        UsageError: if there is none, or the recipe says what is no matter of boxes.
    """
    if recipe.root is None or not user_path(recipe.root).is_dir():
        raise UsageError(f"{recipe.name} needs --data.root DIR, {expected}; got {recipe.root}")
    for name in MASK_FIELDS:
        if getattr(recipe, name) is not None:
            raise UsageError(f"data.{name} says nothing of boxes ({recipe.name}); leave it out; data.classes chooses classes")
    if recipe.classes is not None and not 0 < len(set(recipe.classes)) == len(recipe.classes):
        raise UsageError(f"data.classes must be one or more different names, got {', '.join(map(printable, recipe.classes)) or 'none'}")
    return user_path(recipe.root)


def boxed_source(recipe: DataRecipe, found: FoundBoxes) -> DataSource:
    """Return images with boxes as a source; the header of every image and every box was looked at.

    Args:
        recipe: names the source; its `classes` choose some classes and their order.
        found: what the files say.

    Raises:
        UsageError: if nothing is left for a split.
    """
    splits, notes = dict(found.splits), list(found.notes)
    root = splits["train"].images.root
    if "val" not in splits:
        pool = splits["train"]
        names = [os.fsdecode(path) for path in pool.images.paths]
        val = np.array(held_out(names, recipe.val_share), np.int64)
        splits = {"train": pool.chosen(np.setdiff1d(np.arange(len(names)), val)), "val": replace(pool.chosen(val), notes=())}
        notes.append(f"data.val_share {recipe.val_share:g} is held out: {len(val)} of {len(names)} images")
    classes, labels = _chosen_classes(recipe, found.classes)
    sets = {}
    for split, part in splits.items():
        if not len(part.images):
            raise UsageError(f"{root}: no image is for {split}; {'; '.join((*part.notes, *notes))}")
        rest, table, said = settled(_relabelled(part, labels), image_headers(part.images))
        said = [*part.notes, *said]
        if table.crowd.all():
            raise UsageError(f"{root}: no box is left for {split}; {'; '.join(said) or 'the files say none'}")
        counts = np.bincount(table.labels[~table.crowd], minlength=len(classes)).tolist()
        said += remark([name for name, count in zip(classes, counts, strict=True) if not count], "classes without a box")
        sets[split] = BoxedImages(rest.images, table)
        notes += [f"{len(table)} images for {split} with {sum(counts)} boxes", *(f"{split}: {line}" for line in said)]
    shared = sorted(set(sets["train"].paths.tolist()) & set(sets["val"].paths.tolist()))
    notes += remark([os.fsdecode(path) for path in shared], "images are both for train and for val")
    return DataSource(
        name=recipe.name,
        train=sets["train"],
        val=sets["val"],
        classes=classes,
        input=box_input(recipe, sets["train"].targets.sizes),
        notes=tuple(f"{root}: {printable(note, None)}" for note in notes),
    )


def image_headers(images: ImageFiles) -> np.ndarray:
    """Return (N, 3) int64: width and height of each image, upright, and its EXIF orientation; zeros for one that cannot be read.

    They are kept until names, sizes or times of the files change.
    """
    state = f"{file_states(images.root, images.paths)} {images.reading.max_pixels}"

    def look() -> dict[str, np.ndarray]:
        answers = each_answer("images", lambda index: _header(images.path(index), images.reading.max_pixels), range(len(images)))
        return {"headers": np.array(list(answers), np.int64).reshape(-1, 3)}

    return kept_arrays(f"headers-{hashlib.sha256(state.encode()).hexdigest()[:32]}", {"headers": "i"}, look)["headers"]


def _header(path: Path, max_pixels: int) -> tuple[int, int, int]:
    try:
        with open_regular(path) as file, open_image(file, max_pixels) as image:
            said = image.format != "PNG" or "exif" in image.info  # else Pillow decodes the pixels to look behind them
            way = orientation(image) if said else 1
            width, height = image.size[::-1] if way in TRANSPOSING else image.size
            return width, height, way
    except Exception:  # what a damaged file raises depends on its format; it is counted where it is read
        return 0, 0, 0


def _chosen_classes(recipe: DataRecipe, found: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the classes, and the class of each label of the files."""
    if recipe.classes is None:
        return found, np.arange(len(found))
    for name in recipe.classes:
        if name not in found:
            raise choice_error("class in data.classes", name, found)
    return recipe.classes, np.array([recipe.classes.index(name) if name in recipe.classes else UNLISTED for name in found], np.int64)


def _relabelled(part: Annotated, labels: np.ndarray) -> Annotated:
    listed = part.marks.labels >= 0
    return replace(part, marks=replace(part.marks, labels=np.where(listed, labels[np.where(listed, part.marks.labels, 0)], UNLISTED)))


def box_input(recipe: DataRecipe, sizes: np.ndarray) -> InputSpec:
    """Return the input of images with boxes of (N, 2) widths and heights.

    By default it is the shorter side that half of the images have at least, up to `LARGEST_DEFAULT_SIDE`.
    """
    known = sizes[sizes.any(axis=1)]
    side = int(np.median(known.min(axis=1))) if len(known) else LARGEST_DEFAULT_SIDE
    side = max(SIDE_STEP, min(side, LARGEST_DEFAULT_SIDE) // SIDE_STEP * SIDE_STEP)
    return input_spec(recipe, size=side, mean=IMAGENET.mean, std=IMAGENET.std)
