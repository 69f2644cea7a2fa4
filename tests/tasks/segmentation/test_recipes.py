"""The package's recipes of masks train on folders of images with masks, as they are and recalibrated."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.recipe import load_recipe
from senet.results.run_folder import RunFolder
from senet.training.loop import train
from tasks.segmentation.made_masks import discs

SIZES = ((40, 48), (48, 40), (33, 35), (40, 48))


def written(root: Path, masks: str) -> Path:
    """Write images and masks, or instance maps, for training and validation."""
    for seed, split in enumerate(("train", "test" if masks == "instances" else "val")):
        made = discs(SIZES, seed)
        for folder in ("images", masks):
            (root / split / folder).mkdir(parents=True)
        for index, mask in enumerate(made.targets):
            made.read(index).convert("RGB").save(root / split / "images" / f"{index}.png")
            known = np.where(mask == 255, 0, mask).astype(np.uint8)
            Image.fromarray(known).save(root / split / masks / f"{index}.png")
    return root


@pytest.mark.parametrize(("name", "masks"), [("segmentation", "masks"), ("nuclei", "instances")])
def test_a_recipe_trains(name, masks, tmp_path):
    changes = {"data.root": str(written(tmp_path, masks)), "data.workers": 0, "data.image_size": 32, "data.batch_size": 2}
    short = {"training.epochs": 1, "data.min_steps": 3, "model.name": "scse_unet", "model.options.width": 4}
    train(load_recipe(name, changes | short), folder=tmp_path / "run", progress=False)
    (row,) = RunFolder(tmp_path / "run").metrics()
    assert row["step"] == 3  # four images in batches of two come once and a half
    assert 0 <= row["val_dice"] <= 100
