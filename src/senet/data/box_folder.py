"""Boxes in a folder, of whatever format: `data.name: boxes`, or one format by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from senet.data.box_marks import FoundBoxes
from senet.data.box_source import boxed_source, boxes_root
from senet.data.coco.boxes import COCO_BOX_LAYOUT, find_coco_boxes, has_coco_boxes
from senet.data.image_file import ImageReading
from senet.data.source import DataSource
from senet.data.voc import VOC_LAYOUT, find_voc_boxes, has_voc_boxes
from senet.data.yolo import YOLO_LAYOUT, find_yolo_boxes, has_yolo_boxes
from senet.errors import UsageError
from senet.recipe import DataRecipe


@dataclass(frozen=True)
class BoxFormat:
    """Format of files of boxes.

    Args:
        layout: what a folder must hold, in words: "with DIR/...".
        holds: whether a folder holds such files; it may raise UsageError instead.
        find: returns what they say.
    """

    layout: str
    holds: Callable[[Path], bool]
    find: Callable[[Path, ImageReading], FoundBoxes]


BOX_FORMATS: Mapping[str, BoxFormat] = {
    "coco_boxes": BoxFormat(COCO_BOX_LAYOUT, has_coco_boxes, find_coco_boxes),
    "voc": BoxFormat(VOC_LAYOUT, has_voc_boxes, find_voc_boxes),
    "yolo": BoxFormat(YOLO_LAYOUT, has_yolo_boxes, find_yolo_boxes),
}
"""Name of a source -> the format of its files; where a folder holds several, the first is taken."""

BOXES = ("boxes", *BOX_FORMATS)
"""Names of sources of boxes; the first stands for whatever the folder holds."""


def open_source(recipe: DataRecipe) -> DataSource:
    """Open images with boxes.

    Raises:
        UsageError: for a missing folder or file, a folder of no format, files that say something else, or of which nothing is left.
    """
    layouts = [form.layout for name, form in BOX_FORMATS.items() if recipe.name in ("boxes", name)]
    root = boxes_root(recipe, "; or ".join(layouts))
    name = box_format(root) if recipe.name == "boxes" else recipe.name
    return boxed_source(recipe, BOX_FORMATS[name].find(root, ImageReading.of(recipe)))


def box_format(root: Path) -> str:
    """Return the name of the format of the files of boxes in a folder.

    Raises:
        UsageError: if it has none.
    """
    found = next((name for name, form in BOX_FORMATS.items() if _holds(form, root)), None)
    if found is None:
        forms = "; ".join(f"{name} {form.layout}" for name, form in BOX_FORMATS.items())
        raise UsageError(f"{root}: no files of boxes are recognised: {forms}")
    return found


def _holds(form: BoxFormat, root: Path) -> bool:
    try:
        return form.holds(root)
    except UsageError:
        return False
