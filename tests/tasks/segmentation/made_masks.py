"""Images of bright discs on noise with their masks: a source of a user's own, and a recipe that trains on it in a second or two."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.masks import IGNORE
from senet.data.source import DataSource, input_spec
from senet.recipe import DataRecipe, Recipe, build_recipe

TRAIN = ((24, 24),) * 12
VAL = ((24, 30), (20, 26), (24, 30), (33, 17), (20, 26))
"""Heights and widths: validation images have several."""


@dataclass(frozen=True)
class Discs:
    images: list[np.ndarray]
    targets: list[np.ndarray]
    in_memory: bool = True

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def describe(self, index: int) -> str:
        return f"discs {index}"


def discs(sizes: tuple[tuple[int, int], ...], seed: int) -> Discs:
    random = np.random.default_rng(seed)
    images, masks = [], []
    for height, width in sizes:
        rows, columns = np.mgrid[:height, :width]
        mask = np.zeros((height, width), np.uint8)
        for label in (1, 2, 1):
            row, column = random.integers(height), random.integers(width)
            mask[(rows - row) ** 2 + (columns - column) ** 2 < random.integers(9, 60)] = label
        images.append((40 + 80 * mask + random.integers(30, size=mask.shape)).astype(np.uint8))
        mask[:2, :2] = IGNORE
        masks.append(mask)
    return Discs(images, masks)


def source(recipe: DataRecipe) -> DataSource:
    spec = input_spec(recipe, size=16, mean=(0.3,), std=(0.3,))
    return DataSource("discs", discs(TRAIN, 0), discs(VAL, 1), ("background", "grey", "bright"), spec)


def tiny_masks(**changes: Any) -> Recipe:
    """Return a recipe of 3 epochs of 3 steps with every augmentation; dotted names are written with two underscores."""
    tree = {
        "name": "discs",
        "task": "segmentation",
        "model": {"name": "scse_unet", "options": {"width": 4, "kernel": 3, "norm": "batch", "depth": 2}},
        "data": {"name": f"{Path(__file__)}:source", "crop": "pad", "pad": 2, "flip": True, "rotation": 20, "batch_size": 4, "workers": 0},
        "segmentation": {"foreground": 0.5, "zoom": [0.8, 1.2], "elastic": 2, "elastic_grid": 8, "brightness": 0.1, "noise": 0.1},
        "training": {"epochs": 3},
    }
    return build_recipe(tree, {name.replace("__", "."): value for name, value in changes.items()})
