"""Small folders in COCO's layout."""

import json

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1, "color": [200, 0, 0]},
    {"id": 7, "name": "sky", "isthing": 0, "color": [0, 0, 200]},
]


def rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def image(number):
    return {"id": number, "file_name": f"{number:03d}.jpg", "width": 8, "height": 6}


def annotation(number, category, shape, **more):
    return {"id": 10 * number + category, "image_id": number, "category_id": category, "segmentation": shape, **more}


def put_json(path, **tree):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))


def put_images(folder, numbers):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"{number:03d}.jpg")


def write_semantic(root, **changes):
    """Write two images for training and one for validation: a sky with a cat, of which a smaller cat is a region of many."""
    for split, numbers in (("train2017", (1, 2)), ("val2017", (3,))):
        put_images(root / split, numbers)
        annotations = [annotation(number, 3, rectangle(1, 1, 4, 4)) for number in numbers]
        annotations += [annotation(number, 7, rectangle(0, 0, 8, 3)) for number in numbers]
        tree = {"images": [image(number) for number in numbers], "annotations": annotations, "categories": CATEGORIES, **changes}
        put_json(root / "annotations" / f"instances_{split}.json", **tree)
    return root


def write_panoptic(root, segments=((0, 0), (1, 300), (2, 70000)), numbers_of=((300, 3), (70000, 7))):
    """Write images whose segments are stripes: (stripe of two columns, its number)."""
    for split, numbers in (("train2017", (1, 2)), ("val2017", (3,))):
        put_images(root / "images" / split, numbers)
        ids = np.zeros((6, 8), np.int64)
        for stripe, number in segments:
            ids[:, 2 * stripe : 2 * stripe + 2] = number
        masks = root / "annotations" / f"panoptic_{split}"
        masks.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)).save(masks / f"{number:03d}.png")
        entries = [
            {
                "image_id": number,
                "file_name": f"{number:03d}.png",
                "segments_info": [{"id": one, "category_id": category} for one, category in numbers_of],
            }
            for number in numbers
        ]
        put_json(masks.with_suffix(".json"), images=[image(number) for number in numbers], annotations=entries, categories=CATEGORIES)
    return root
