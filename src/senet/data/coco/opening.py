"""How a source of COCO's masks is opened, of either kind: splits, labels and classes."""

from collections.abc import Callable, Sequence

import numpy as np

from senet.data.coco.files import Category, Listing, find_listings, image_paths, joined_categories, read_listing
from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading
from senet.data.mask_classes import MaskClasses
from senet.data.mask_layout import held_out
from senet.data.mask_scan import RawMasks
from senet.data.mask_source import masked_source
from senet.data.masks import IGNORE, LabelMap, MaskReading, check_mask_fields
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.recipe import DataRecipe

UNSAID = "background"

MakeMasks = Callable[[Sequence[Listing], np.ndarray, int, int], RawMasks]
"""(files of one split, which images of the first of them, the label of pixels that nothing says, largest width x height) -> their masks."""


def open_coco(recipe: DataRecipe, kinds: Sequence[str], make_masks: MakeMasks, *, background: bool) -> DataSource:
    """Open the images that JSON files list, with masks that are made of the files' annotations.

    Args:
        recipe: names the root; its `label_map` goes by the numbers of categories.
        kinds: what the files' names begin with.
        make_masks: makes the masks of a split.
        background: whether pixels that nothing says are a class of their own, the first; else they are ignored.

    Raises:
        UsageError: for a missing folder, file or image, a file that says something else, or what `masked_source` refuses.
    """
    root = user_path(recipe.root or "")
    if recipe.root is None or not root.is_dir():
        raise UsageError(
            f"{recipe.name} needs --data.root DIR with DIR/annotations/{kinds[0]}_train2017.json and the images, got {recipe.root}"
        )
    check_mask_fields(recipe)
    if recipe.masks is not None or recipe.ignore_index is not None:
        raise UsageError(
            f"data.masks and data.ignore_index say nothing of {recipe.name}: labels are categories; data.label_map ignores some"
        )
    listings = {split: [read_listing(path) for path in paths] for split, paths in find_listings(root, kinds).items()}
    categories = joined_categories([listing for files in listings.values() for listing in files])
    if len(categories) >= IGNORE:
        raise UsageError(f"{root}: {len(categories)} categories, more than {IGNORE - 1}; masks have room for no more")
    unsaid = 0 if categories[0].id else categories[-1].id + 1
    reading, classes = _classes(recipe, categories, unsaid, background)
    chosen = {split: np.arange(len(files[0].images)) for split, files in listings.items()}
    where = {split: f"listed in {', '.join(file.path.name for file in files)}" for split, files in listings.items()}
    if "val" not in listings:
        names = [image["file_name"] for image in listings["train"][0].images]
        chosen["val"] = np.array(held_out(names, recipe.val_share), np.int64)
        chosen["train"] = np.setdiff1d(chosen["train"], chosen["val"])
        listings["val"], where["val"] = listings["train"], f"{where['train']}, data.val_share {recipe.val_share:g}"
    images, masks = {}, {}
    for split, files in listings.items():
        if not len(chosen[split]):
            raise UsageError(f"{root}: no image is for {split}")
        paths = image_paths(root, files[0], kinds)[chosen[split]]
        images[split] = ImageFiles(root, paths, None, ImageReading.of(recipe))
        masks[split] = make_masks(files, chosen[split], unsaid, recipe.max_pixels)
    notes = [f"{len(images[split])} images for {split} {said}" for split, said in where.items()]
    if recipe.label_map is not None:
        notes.append(f"data.label_map goes by the numbers of categories; pixels of none have label {unsaid}")
    colours = {category.id: category.colour for category in categories if category.colour is not None}
    return masked_source(recipe, images, masks, MaskClasses(reading, classes, colours), tuple(notes))


def _classes(
    recipe: DataRecipe, categories: Sequence[Category], unsaid: int, background: bool
) -> tuple[MaskReading, tuple[str, ...] | None]:
    """Return which category is which class, and the names of the classes, unless the recipe's map decides."""
    if recipe.label_map is not None:
        return MaskReading(label_map=recipe.label_map, ignore=None, max_pixels=recipe.max_pixels), None
    first = int(background)
    names = tuple(category.name for category in categories)
    names = (UNSAID if UNSAID not in names else f"{UNSAID} (nothing)", *names) if background else names
    if recipe.classes is not None and len(recipe.classes) != len(names):
        raise UsageError(f"data.classes names {len(recipe.classes)} classes, and the files have {len(names)}; say data.label_map, too")
    label_map: LabelMap = {unsaid: 0 if background else None, **{category.id: first + place for place, category in enumerate(categories)}}
    return MaskReading(label_map=label_map, ignore=None, max_pixels=recipe.max_pixels), names
