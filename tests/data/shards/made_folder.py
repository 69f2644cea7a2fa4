"""A folder of small images in classes, and its shards."""

from pathlib import Path

import numpy as np
from PIL import Image

from senet.data.shards.build import Build, build_shards
from senet.data.shards.source import ShardImages
from senet.data.source import DataSource, open_data
from senet.recipe import DataRecipe

CLASSES = ("cat", "dog", "owl")
SHARD_BYTES = 6_000
"""About three of the images."""


def make_folder(root: Path, count: int = 12) -> Path:
    """Write `count` images of 8 x 8 pixels a class for training, and a third as many for validation."""
    random = np.random.default_rng(0)
    for split, images in (("train", count), ("val", count // 3)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(images):
                Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{index}.png")
    return root


def write_masks(root: Path) -> Path:
    """Write eight images of 8 x 6 pixels with masks that number objects, of which 255 is ignored."""
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for folder, shape, high in (("images", (6, 8, 3), 256), ("masks", (6, 8), 3)):
            (root / split / folder).mkdir(parents=True)
            for number in range(count):
                values = random.integers(0, high, shape, np.uint8)
                values[0, 0] = 255
                Image.fromarray(values).save(root / split / folder / f"{number}.png")
    return root


def open_folder(root: Path) -> DataSource:
    return open_data(DataRecipe(name="folder", root=str(root)))


def open_shards(root: Path | str, **changes) -> DataSource:
    return open_data(DataRecipe(name="shards", root=str(root), **changes))


def sharded(images: object) -> ShardImages:
    assert isinstance(images, ShardImages)
    return images


def make_shards(root: Path, out: Path) -> Build:
    return build_shards(open_folder(root), out, shard_bytes=SHARD_BYTES, workers=2)
