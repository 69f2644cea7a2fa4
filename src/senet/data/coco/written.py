"""Boxes of any source as COCO's instances JSON."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from senet.data.box_files import BoxedImages
from senet.data.boxes import Boxes
from senet.data.coco.shapes import mask_runs
from senet.jsontext import json_text


@dataclass(frozen=True)
class CocoCounts:
    """Contents of a written file.

    Args:
        images: images.
        boxes: objects.
        crowd: regions of many objects, beside these.
        unreadable: images that were left out, since neither they nor their files say their size.
    """

    images: int
    boxes: int
    crowd: int
    unreadable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def write_coco(path: Path, images: BoxedImages, classes: Sequence[str], places: Iterable[int] | None = None) -> CocoCounts:
    """Write images and their boxes; `senet.data.coco.boxes` reads the same boxes of it, bit for bit.

    Categories are numbered from 1 in the order of the classes, annotations from 1; names of files are the images' paths below their root.

    Args:
        path: the file, which is written over.
        images: the images.
        classes: names of the labels.
        places: of the images that are written; None = of all. Whoever shows progress passes them one by one.
    """
    entries: list[dict[str, Any]] = []
    unreadable: list[str] = []
    objects = crowd = 0
    with path.open("w", encoding="ascii") as file:
        file.write('{"annotations": [')
        number = 0
        for place in range(len(images)) if places is None else places:
            boxes, name = images.targets[place], os.fsdecode(images.paths[place])
            height, width = boxes.size
            if not height or not width:
                unreadable.append(name)
                continue
            entries.append({"id": boxes.image_id, "file_name": name, "width": width, "height": height})
            for annotation in annotations(boxes):
                number += 1
                objects, crowd = objects + (not annotation["iscrowd"]), crowd + annotation["iscrowd"]
                file.write(("," if number > 1 else "") + "\n" + json_text({"id": number, **annotation}, indent=None))
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
        file.write(f'\n],\n"images": [{_lines(entries)}\n],\n"categories": [{_lines(categories)}\n]}}\n')
    return CocoCounts(len(entries), objects, crowd, tuple(unreadable))


def _lines(entries: Iterable[dict[str, Any]]) -> str:
    return ",".join(f"\n{json_text(entry, indent=None)}" for entry in entries)


def annotations(boxes: Boxes) -> Iterator[dict[str, Any]]:
    """Yield COCO's annotations of an image, without their numbers."""
    corners = boxes.xyxy.astype(float)  # of float32 corners, left + (right - left) is right again
    sides = corners[:, 2:] - corners[:, :2]
    outlines = _outlines(boxes)
    for place in range(len(boxes)):
        yield {
            "image_id": boxes.image_id,
            "category_id": int(boxes.labels[place]) + 1,
            "bbox": [*corners[place, :2].tolist(), *sides[place].tolist()],
            "area": float(boxes.area[place]),
            "iscrowd": int(boxes.crowd[place]),
            **({} if outlines is None else {"segmentation": outlines[place]}),
        }


def _outlines(boxes: Boxes) -> Sequence[Any] | None:
    """Return the outlines in pixels of the upright image: as the file says them, or run lengths where the image was turned."""
    if boxes.masks is None or boxes.masks.orientation == 1:
        return None if boxes.masks is None else boxes.masks.shapes
    return [{"size": list(boxes.size), "counts": mask_runs(mask)} for mask in boxes.masks.pixels(*boxes.size)]
