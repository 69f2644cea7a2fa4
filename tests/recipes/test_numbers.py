"""The numbers of every recipe, as the papers and their authors' code have them; None where no source gives one."""

from typing import NamedTuple

import pytest

from senet.models.registry import split_name
from senet.recipe import CLASSIFICATION, list_recipes, load_recipe, read_recipe_text, recipe_files
from senet.spec import BlockSpec


class Numbers(NamedTuple):
    batch: int | None
    lr: float | None
    schedule: str
    milestones: tuple[int, ...]
    epochs: int | None
    weight_decay: float | None


MAIN = Numbers(1024, 0.6, "step", (30, 60, 90), 100, None)
MOBILE = Numbers(256, 0.1, "plateau", (), 400, 4e-5)
PREACT = Numbers(128, 0.1, "step", (81, 122), 164, 1e-4)
WIDE = Numbers(128, 0.1, "step", (60, 120, 160), 200, 5e-4)
NUMBERS = {
    "imagenet_main": MAIN,
    "imagenet_resnext50_32x4d": MAIN,
    "imagenet_resnext101_32x4d": MAIN,
    "imagenet_bn_inception": MAIN,
    "imagenet_inception_resnet_v2": MAIN,
    "imagenet_vgg16_bn": MAIN,
    "imagenet_senet154": MAIN._replace(batch=2048, lr=1.0),
    "imagenet_ablation": Numbers(None, 0.1, "plateau", (), 300, None),
    "imagenet_mobilenet": MOBILE,
    "imagenet_shufflenet_g3": MOBILE,
    "places365_resnet152": MAIN._replace(batch=None, lr=None, epochs=None),
    "cifar10_preresnet110": PREACT,
    "cifar10_preresnet164": PREACT,
    "cifar100_preresnet110": PREACT,
    "cifar100_preresnet164": PREACT,
    "cifar10_wrn16_8": WIDE,
    "cifar100_wrn16_8": WIDE,
    "cifar10_shake_shake26_2x96d": Numbers(128, 0.2, "cosine", (), 1800, 1e-4),
    "cifar100_shake_even29_2x4x64d": Numbers(32, 0.025, "cosine", (), 1800, 5e-4),
}
PADDED = [("data", "crop", "pad"), ("data", "pad", 4), ("data", "flip", True), ("optim", "nesterov", True)]
WARM = [("schedule", "gamma", 0.1), ("schedule", "warmup_steps", 400), ("schedule", "warmup_shape", "constant")]
OTHERS = {  # section, field, value
    "imagenet_main": [("data", "rotation", 0), ("data", "jitter", 0), ("schedule", "gamma", 0.1), ("data", "sampler", "shuffle")],
    "imagenet_ablation": [("schedule", "max_drops", 3), ("model", "block", BlockSpec(bias=False))],
    "imagenet_senet154": [("training", "label_smoothing", 0.1), ("model", "options", {"dropout": 0.2}), ("data", "image_size", 224)],
    "imagenet_inception_resnet_v2": [("data", "image_size", 299), ("data", "eval_resize", 352)],
    "imagenet_mobilenet": [("training", "label_smoothing", 0.0), ("schedule", "gamma", 0.1), ("optim", "nesterov", False)],
    "places365_resnet152": [("data", "sampler", "class_aware"), ("data", "num_classes", 365), ("data", "eval_resize", 256)],
    **{name: [*PADDED, ("schedule", "gamma", 0.2)] for name in ("cifar10_wrn16_8", "cifar100_wrn16_8")},
    **{f"cifar{classes}_preresnet{depth}": [*PADDED, *WARM] for classes in (10, 100) for depth in (110, 164)},
    "cifar10_shake_shake26_2x96d": [*PADDED, ("data", "cutout", 16)],
    "cifar100_shake_even29_2x4x64d": [*PADDED, ("data", "cutout", 8)],
}
PAPERS = [name for name in list_recipes() if name not in ("digits", "finetune_classification") and load_recipe(name).task == CLASSIFICATION]
"""The recipes of networks that classify; those of masks are tested with their task."""
FIELDS = {
    "batch": "batch_size",
    "lr": "lr",
    "schedule": "name",
    "milestones": "milestones",
    "epochs": "epochs",
    "weight_decay": "weight_decay",
}


def test_every_recipe_is_in_the_table() -> None:
    assert sorted(NUMBERS) == PAPERS


@pytest.mark.parametrize("name", PAPERS)
def test_numbers(name: str) -> None:
    recipe, want = load_recipe(name), NUMBERS[name]
    assert recipe.optim.momentum == 0.9
    found = Numbers(
        recipe.data.batch_size,
        recipe.optim.lr,
        recipe.schedule.name,
        recipe.schedule.milestones,
        recipe.training.epochs,
        recipe.optim.weight_decay,
    )
    assert [got for got, wanted in zip(found, want, strict=True) if wanted is not None] == [wanted for wanted in want if wanted is not None]


@pytest.mark.parametrize("name", PAPERS)
def test_a_number_without_a_source_is_marked(name: str) -> None:
    lines = [line for file in recipe_files(name) for line in file.text.splitlines()]
    for field in (FIELDS[field] for field, value in NUMBERS[name]._asdict().items() if value is None):
        first = next(line for line in lines if line.strip().startswith(f"{field}:"))  # the file's own comes before its base's
        assert "# none" in first


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_is_special(name: str) -> None:
    recipe = load_recipe(name)
    assert [(section, field, getattr(getattr(recipe, section), field)) for section, field, _ in OTHERS[name]] == OTHERS[name]


@pytest.mark.parametrize("name", PAPERS)
def test_every_recipe_names_its_network_and_what_the_paper_reached(name: str) -> None:
    recipe = load_recipe(name)
    assert split_name(recipe.model.name) == (None, recipe.model.name)
    assert recipe.model.block is not None
    assert recipe.model.reduction == 16
    assert name == recipe.name
    assert "SENet v4" in recipe.about
    assert {10: "cifar10", 100: "cifar100", 1000: "folder", 365: "places365"}[recipe.data.num_classes or 0] == recipe.data.name


@pytest.mark.parametrize("name", PAPERS)
def test_every_number_says_where_it_comes_from(name: str) -> None:
    lines = read_recipe_text(name).splitlines()
    values = [line for line in lines if not line.startswith("#") and any(character.isdigit() for character in line.partition(":")[2])]
    known = ("base", "name", "about", "  name", "  num_classes")
    assert [line for line in values if not line.startswith(known) and "#" not in line] == []
