"""Every recipe of classes builds its network; every way to train them takes two batches of small photographs, by its own loss."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import read_tiles, write_cifar10
from senet.data.places365 import CATEGORIES, LISTS
from senet.models.create import model_from_recipe
from senet.recipe import CLASSIFICATION, Recipe, list_recipes, load_recipe, override
from senet.training.loop import train
from senet.training.state import TrainingState

CLASSES = 2
SIDES = {"imagenet_inception_resnet_v2": 96}
"""Side of the images of the recipes whose networks cannot see 64 pixels."""


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> list[Path]:
    """Return three photographs of each of two classes' worth: the sample has one a class, so that a class is three of its own here."""
    sample = shared_data / "imagenet1k_sample"
    with (sample / "labels.csv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    return [sample / "images" / name for name in names[:: len(names) // (3 * CLASSES)][: 3 * CLASSES]]


@pytest.fixture(scope="module")
def folder(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the photographs out as ImageNet is: two of each class for training, one for validation."""
    root = tmp_path_factory.mktemp("imagenet")
    for number, path in enumerate(photographs):
        place = root / ("train" if number % 3 else "val") / f"n{number // 3:08d}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return root


@pytest.fixture(scope="module")
def places365(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the photographs out as Places365-Challenge is."""
    root = tmp_path_factory.mktemp("places365")
    lists: dict[str, list[str]] = {"challenge": [], "val": []}
    for number, path in enumerate(photographs):
        label = number // 3
        part, name = ("challenge", f"/c/class{label}/{number:08d}.jpg") if number % 3 else ("val", f"Places365_val_{number:08d}.jpg")
        file = root / ("data_256_challenge" if part == "challenge" else "val_256") / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").resize((256, 256)).save(file)
        lists[part].append(f"{name} {label}")
    for part, lines in lists.items():
        (root / LISTS[part]).write_text("\n".join(lines) + "\n")
    (root / CATEGORIES).write_text("".join(f"/c/class{label} {label}\n" for label in range(CLASSES)))
    return root


@pytest.fixture(scope="module")
def cifar10(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write five images for training and two for validation into CIFAR-10's files."""
    root = tmp_path_factory.mktemp("cifar10")
    pixels, labels = read_tiles(shared_data / "cifar10" / "test_a.webp"), np.load(shared_data / "cifar10" / "labels_test.npy")
    write_cifar10(root, pixels[:5], labels[:5], pixels[5:7], labels[5:7])
    return root


def for_two_batches(recipe: Recipe, root: Path) -> Recipe:
    """Return the recipe for batches of two images, small ones where its own are large, at a rate to match."""
    data = {
        "folder": {"data.num_classes": CLASSES, "data.image_size": SIDES.get(recipe.name, 64)},
        "places365": {"data.num_classes": CLASSES, "data.image_size": 64},
        "cifar100": {"data.name": "cifar10", "data.num_classes": 10},
    }.get(recipe.data.name, {})
    changes = {
        "data.root": str(root),
        "data.batch_size": 2,
        "data.workers": 0,
        "optim.lr": recipe.optim.lr / recipe.data.batch_size,
        "schedule.warmup_steps": min(recipe.schedule.warmup_steps, 1),
        "training.epochs": 1,
        "training.freeze_bn_epochs": 0,
    }
    return override(recipe, data | changes)


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep weights and checkpoints off the disk: they are gigabytes in all, and other tests write them."""
    monkeypatch.setattr("senet.training.loop.save_weights", lambda *args, **kwargs: None)
    monkeypatch.setattr(TrainingState, "save", lambda *args: None)


OURS = ("digits", "finetune_classification")
"""Recipes of no paper, which other tests train."""

RECIPES = [recipe for recipe in map(load_recipe, list_recipes()) if recipe.name not in OURS and recipe.task == CLASSIFICATION]


def first_of_each_training() -> list[str]:
    """Return the first of the recipes that are here the same but for their network and what they are called."""
    first: dict[str, str] = {}
    for recipe in RECIPES:
        same = replace(for_two_batches(recipe, Path("root")), name="same", about="", model=RECIPES[0].model)
        first.setdefault(repr(same), recipe.name)
    return [*first.values()]


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("name", first_of_each_training())
def test_two_batches_of_real_images(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    root = request.getfixturevalue({"cifar100": "cifar10"}.get(recipe.data.name, recipe.data.name))
    result = train(for_two_batches(recipe, root), folder=tmp_path / "run", progress=False)
    assert (result.final["epoch"], result.final["step"]) == (1, 2)
    assert 0 < result.final["train_loss"] < 100  # the validation's may overflow: two steps are too few for BN's running statistics


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_network_is_built(recipe: Recipe) -> None:
    model = model_from_recipe(recipe.model, num_classes=CLASSES, in_channels=3, device="meta")
    assert model(torch.zeros(2, 3, 224, 224, device="meta")).shape == (2, CLASSES)
    assert any(path.endswith(".se") for path, _ in model.named_modules())
