"""Detectors of the zoo trained for an epoch on images without objects, with one box, with crowds alone, and of one class."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from senet.data.boxes import Boxes
from senet.data.source import DataSource, input_spec
from senet.errors import UsageError
from senet.recipe import DataRecipe, Recipe
from senet.results.run_folder import RunFolder
from senet.training.loop import train
from tasks.detection.made_rectangles import SMALL_DETECTOR, Rectangles, rectangles, tiny_boxes

SIZES = ((48, 64), (40, 48), (64, 48), (56, 56))
DENSE: dict[str, Any] = {name: SMALL_DETECTOR[name] for name in ("backbone", "fpn_channels", "anchor_scale")}


def kept(images: Rectangles, keep: Any, **changes: Any) -> Rectangles:
    """Return images with the boxes that `keep(image, boxes)` says, (n,) bool."""

    def of(number: int, boxes: Boxes) -> Boxes:
        chosen = np.asarray(keep(number, boxes), bool)
        parts = {name: getattr(boxes, name)[chosen] for name in ("xyxy", "labels", "crowd", "area")}
        return replace(boxes, **(parts | {name: change(parts) for name, change in changes.items()}))

    return replace(images, targets=[of(number, boxes) for number, boxes in enumerate(images.targets)])


def no_boxes(recipe: DataRecipe) -> DataSource:
    return made(recipe, lambda number, boxes: np.zeros(len(boxes.labels)))


def one_box(recipe: DataRecipe) -> DataSource:
    return made(recipe, lambda number, boxes: (np.arange(len(boxes.labels)) == 0) & (number == 1))


def crowds(recipe: DataRecipe) -> DataSource:
    return made(recipe, lambda number, boxes: np.ones(len(boxes.labels)), crowd=lambda parts: np.ones_like(parts["crowd"]))


def one_class(recipe: DataRecipe) -> DataSource:
    labels = {"labels": lambda parts: np.zeros_like(parts["labels"])}
    one = made(recipe, lambda number, boxes: np.ones(len(boxes.labels)), **labels)
    return replace(one, val=one.train, classes=("cell",))


def crowds_to_judge(recipe: DataRecipe) -> DataSource:
    only = crowds(recipe)
    return replace(only, train=only.val, val=only.train)


def made(recipe: DataRecipe, keep: Any, **changes: Any) -> DataSource:
    """Return a source whose training images hold what is kept."""
    spec = input_spec(recipe, size=64, mean=(0.45,) * 3, std=(0.25,) * 3)
    images = kept(rectangles(SIZES, 0), keep, **changes)
    return DataSource("scarce", images, rectangles(SIZES, 1), ("red", "blue"), spec)


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet"])
@pytest.mark.parametrize("source", [no_boxes, one_box, crowds, one_class])
def test_an_epoch_has_finite_losses(name: str, source: Any, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    network = {"model__name": name, "model__block": "se", "model__options": SMALL_DETECTOR if name == "faster_rcnn" else DENSE}
    train(scarce(source, **network), folder=tmp_path / "run", progress=False)
    (row,) = RunFolder(tmp_path / "run").metrics()
    assert len([value for name, value in row.items() if name.startswith("train_")]) >= 3
    assert all(np.isfinite(value) for value in row.values()), row


def test_without_objects_to_judge_by_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no validation image of scarce has an object"):
        train(scarce(crowds_to_judge), folder=tmp_path / "run", progress=False)


def scarce(source: Any, **network: Any) -> Recipe:
    """Return a recipe of one short epoch."""
    short = {"data__batch_size": 2, "data__min_steps": 1, "training__epochs": 1}
    return tiny_boxes(**network, **short, data__name=f"{__file__}:{source.__name__}")
