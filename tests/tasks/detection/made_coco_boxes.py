"""Bright rectangles on noise as COCO's files of 2017 are."""

from pathlib import Path

from PIL import Image

from data.coco.made_coco import put_json
from tasks.detection.made_rectangles import rectangles

SIZES = ((40, 56), (52, 48), (40, 60), (44, 40), (56, 40))


def write_coco_boxes(root: Path, categories: int = 80) -> Path:
    """Write five images for training and two for validation, whose objects are of the first two of some categories."""
    named = [{"id": number, "name": f"class {number}"} for number in range(1, categories + 1)]
    for seed, (split, sizes) in enumerate((("train2017", SIZES), ("val2017", SIZES[:2]))):
        made = rectangles(sizes, seed)
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for boxes, pixels in zip(made.targets, made.images, strict=True):
            name = f"{boxes.image_id:012}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": boxes.image_id, "file_name": name, "width": boxes.size[1], "height": boxes.size[0]})
            for (left, top, right, bottom), label, crowd in zip(
                boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.crowd.tolist(), strict=True
            ):
                sides = [left, top, right - left, bottom - top]
                about = {"image_id": boxes.image_id, "category_id": label + 1, "iscrowd": int(crowd), "area": sides[2] * sides[3]}
                annotations.append({"id": len(annotations) + 1, "bbox": sides, **about})
        put_json(root / "annotations" / f"instances_{split}.json", images=images, annotations=annotations, categories=named)
    return root
