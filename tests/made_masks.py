"""Images with masks small enough to train on in a second: bright discs on dark ground."""

from pathlib import Path

import numpy as np
from PIL import Image

from senet.recipe import Recipe, build_recipe


def write_discs(root: Path, *, train: int = 6, val: int = 4, side: int = 32, seed: int = 0) -> Path:
    """Write images of several sizes and masks of two classes, 0 and 1, with a palette, into train and val; return the root."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            height, width = side + 3 * (index % 2), side + 5 * (index % 3)
            rows, columns = np.mgrid[:height, :width]
            mask = np.zeros((height, width), np.uint8)
            for _ in range(3):
                row, column, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(2, 7)
                mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
            pixels = np.clip(60 + 110 * mask[..., None] + random.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / "images" / f"{index}.png")
            labels = Image.fromarray(mask).convert("P")
            labels.putpalette([0, 0, 0, 250, 200, 0])
            labels.save(root / split / "masks" / f"{index}.png")
    return root


def tiny_masks(root: Path, **changes: object) -> Recipe:
    """Return a recipe of 2 epochs of a narrow U-Net on such a folder; dotted names are written with two underscores."""
    tree = {
        "name": "discs",
        "task": "segmentation",
        "model": {"name": "unet", "options": {"width": 4}},
        "data": {"name": "masks", "root": str(root), "image_size": 32, "crop": "pad", "batch_size": 3, "workers": 0},
        "optim": {"lr": 0.05},
        "training": {"epochs": 2},
    }
    return build_recipe(tree, {name.replace("__", "."): value for name, value in changes.items()})
