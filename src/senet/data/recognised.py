"""What a folder of images holds, by what lies in it, where nobody says its `data.name`."""

import re
from collections.abc import Callable
from pathlib import Path

from senet.data.coco.boxes import BOX_FILES
from senet.data.coco.files import LARGEST_JSON, find_listings
from senet.data.coco.semantic import SEMANTIC_FILES
from senet.data.image_file import open_regular
from senet.data.image_tree import sub_folders
from senet.data.mask_layout import has_masks
from senet.data.shards.manifest import MANIFEST
from senet.data.voc import has_voc_boxes
from senet.data.volumes.cases import has_volumes
from senet.data.yolo import has_yolo_boxes
from senet.errors import UsageError
from senet.file_kind import user_path

OUTLINE = re.compile(rb'"segmentation"\s*:\s*(\[\s*[^\]\s]|\{)')
"""An outline in the text of a JSON file, which need not be parsed to see it."""


def has_boxes_alone(root: Path) -> bool:
    """Return whether a folder has COCO's instances files, of which that for training has no outlines, and no masks can be drawn.

    Raises:
        UsageError: if it has none.
    """
    path = find_listings(root, BOX_FILES)["train"][0]
    with open_regular(path) as file:
        content = file.read(LARGEST_JSON)
    return OUTLINE.search(content) is None and b'"bbox"' in content


LOOKS: dict[str, Callable[[Path], object]] = {
    "coco_boxes": has_boxes_alone,
    "coco_semantic": lambda root: find_listings(root, SEMANTIC_FILES),
    "coco_panoptic": lambda root: find_listings(root, ("panoptic",)),
    "volumes": has_volumes,
    "voc": has_voc_boxes,
    "yolo": has_yolo_boxes,
    "masks": has_masks,
}
"""Source of masks or boxes -> what is true of a folder that holds its files, or raises UsageError; the first that does is taken."""


def recognised(root: str | None) -> str:
    """Return the name of the source that a folder is for: "folder", class folders, unless it holds shards, masks or boxes."""
    if root is None or not user_path(root).is_dir():
        return "folder"
    if (user_path(root) / MANIFEST).is_file():
        return "shards"
    return next((name for name, look in LOOKS.items() if _holds(look, user_path(root))), "folder")


def has_classes(root: str | None) -> bool:
    """Return whether a folder looks like class folders: `train` in it holds folders, and nothing in it is recognised as masks."""
    return (
        root is not None
        and recognised(root) == "folder"
        and (user_path(root) / "train").is_dir()
        and bool(sub_folders(user_path(root) / "train"))
    )


def _holds(look: Callable[[Path], object], root: Path) -> bool:
    try:
        return bool(look(root))
    except (UsageError, ImportError, OSError):
        return False
