import dataclasses
from typing import Any

import pytest
import yaml

from senet.errors import UsageError
from senet.recipe import (
    NO_EFFECT,
    Recipe,
    annotated_recipe,
    build_recipe,
    field_path,
    field_paths,
    list_recipes,
    load_recipe,
    override,
    read_recipe_text,
)
from senet.spec import BlockSpec

NO_EFFECT_PATHS = [f"{section}.{field}".lstrip(".") for section, field in NO_EFFECT]

EVERYTHING = {
    "name": "all",
    "about": "every kind of value",
    "seed": 3,
    "model": {
        "name": "resnet50",
        "block": {"kind": "se", "bias": False, "hidden": {2: 8, 3: 16}},
        "placement": "pre",
        "stages": [2, 3],
        "options": {"v1_5": True},
    },
    "data": {"name": "folder", "root": "/data", "scale": [0.2, 1.0], "mean": [0.1, 0.2, 0.3], "max_corrupt": 0.0},
    "optim": {"lr": 0.5, "clip_norm": 1.0},
    "schedule": {"name": "step", "milestones": [3, 7]},
    "training": {"epochs": 9, "precision": "bf16", "ema_decay": 0.99},
}


def test_values_arrive_with_their_types():
    recipe = build_recipe(EVERYTHING)
    assert recipe.model.block == BlockSpec(bias=False, hidden={2: 8, 3: 16})
    assert recipe.model.stages == (2, 3)
    assert recipe.data.scale == (0.2, 1.0)
    assert recipe.schedule.milestones == (3, 7)
    assert recipe.optim.momentum == 0.9  # a default
    assert dataclasses.asdict(build_recipe({})) == dataclasses.asdict(Recipe())


@pytest.mark.parametrize("tree", [{}, EVERYTHING, {"model": {"block": "none", "reduction": {1: 4, 2: 8}}}])
def test_yaml_round_trip(tree):
    recipe = build_recipe(tree)
    assert build_recipe(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_of_the_package(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about
    path = tmp_path / "copy.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe == load_recipe(str(path))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"optm": {}}, "recipe has an unknown field 'optm' (did you mean 'optim'?); allowed: name, about, seed, task, model,"),
        ({"optim": {"momentun": 1}}, "recipe has an unknown field 'optim.momentun' (did you mean 'momentum'?); allowed: optim.lr,"),
        ({"model": {"block": {"redution": 4}}}, "recipe has an unknown field 'model.block.redution' (did you mean 'reduction'?)"),
        ({"model": {"block": {"kind": "so"}}}, "unknown block 'so'"),
        ({"optim": {"lr": "fast"}}, "recipe: optim.lr: expected float, got fast"),
        ({"training": {"epochs": 1.5}}, "recipe: training.epochs: expected int, got 1.5"),
        ({"data": {"flip": 1}}, "recipe: data.flip: expected bool, got 1"),
        ({"data": {"scale": [1]}}, "recipe: data.scale: expected a list of 2 floats, got [1]"),
        (
            {"schedule": {"name": "cosin"}},
            "recipe: schedule.name: expected one of 'constant', 'step', 'cosine', 'plateau', got cosin (did you mean 'cosine'?)",
        ),
        ({"schedule": {"milestones": [1, "a"]}}, "recipe: schedule.milestones: expected int, got a"),
        ({"model": {"stages": 2}}, "recipe: model.stages: expected a list of ints or null, got 2"),
        ({"model": 5}, "recipe: model must hold fields, got 5"),
        ([1], "recipe must hold fields such as `model:` and `data:`, got [1]"),
        ("digits", "recipe must hold fields such as `model:` and `data:`, got 'digits'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tree, message):
    with pytest.raises(UsageError) as caught:
        build_recipe(tree)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_missing_recipes_and_files(tmp_path):
    with pytest.raises(UsageError, match=r"unknown recipe 'digit' \(did you mean 'digits'\?\); allowed: .*imagenet_main"):
        load_recipe("digit")
    with pytest.raises(UsageError, match=r"no recipe file '.*mine.yaml'"):
        load_recipe(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("model: [unclosed\n")
    with pytest.raises(UsageError, match=r"mine.yaml is not valid YAML: .*line \d") as caught:
        load_recipe(tmp_path / "mine.yaml")
    assert "\n" not in str(caught.value)
    (tmp_path / "mine.yaml").write_text("optim:\n  lrr: 1\n")
    with pytest.raises(UsageError, match=r"mine.yaml has an unknown field 'optim.lrr' \(did you mean 'lr'\?\)"):
        load_recipe(tmp_path / "mine.yaml")


class TestBases:
    @staticmethod
    def write(folder, **texts):
        for name, text in texts.items():
            (folder / f"{name}.yaml").write_text(text)
        return folder / f"{next(iter(texts))}.yaml"

    def test_fields_are_laid_over_those_of_a_recipe_of_the_package(self, tmp_path):
        path = self.write(tmp_path, mine="base: cifar10_wrn16_8\nname: mine\noptim:\n  lr: 0.05\nseed: 3\n")
        assert load_recipe(path) == override(load_recipe("cifar10_wrn16_8"), {"name": "mine", "optim.lr": 0.05, "seed": 3})
        assert "base" not in load_recipe(path).to_dict()

    def test_bases_of_bases_lie_beside_the_file_that_names_them(self, tmp_path):
        (tmp_path / "inner").mkdir()
        self.write(tmp_path / "inner", middle="base: ../first.yaml\noptim:\n  lr: 0.2\n  momentum: 0.8\n")
        self.write(tmp_path, first="base: digits\nseed: 5\noptim:\n  lr: 0.3\n")
        path = self.write(tmp_path, last="base: inner/middle.yaml\noptim:\n  lr: 0.1\n")
        want = override(load_recipe("digits"), {"seed": 5, "optim.lr": 0.1, "optim.momentum": 0.8})
        assert load_recipe(path) == want

    def test_a_field_that_holds_a_mapping_is_replaced_as_a_whole(self, tmp_path):
        path = self.write(tmp_path, mine="base: imagenet_ablation\nmodel:\n  block: {kind: se, gate: tanh}\n")
        assert load_recipe(path).model.block == BlockSpec(gate="tanh")
        assert load_recipe(path).model.reduction == 16

    def test_flags_win_over_all(self, tmp_path):
        path = self.write(tmp_path, mine="base: digits\noptim:\n  lr: 0.3\n")
        assert load_recipe(path, {"lr": 0.4}).optim.lr == 0.4

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("base: digit\n", r"recipe .*mine.yaml builds on 'digit': unknown recipe 'digit' \(did you mean 'digits'\?\); allowed: "),
            ("base: yours.yaml\n", r"recipe .*mine.yaml builds on '.*yours.yaml': no recipe file '.*yours.yaml'"),
            ("base: [digits]\n", r"recipe .*mine.yaml: base must be the name of a recipe or of a file beside this one, got \['digits'\]$"),
            ('base: "a\\0.yaml"\n', r"builds on '\S*a.*yaml': no recipe file"),
            ("base:\n", r"recipe .*mine.yaml: base must be the name of a recipe or of a file beside this one, got None$"),
            ("base: mine.yaml\n", r"its bases lead in a circle: \S*mine.yaml -> \S*mine.yaml; remove one `base:`$"),
            ("base: other.yaml\n", r"its bases lead in a circle: \S*mine.yaml -> \S*other.yaml -> \S*mine.yaml; remove one `base:`$"),
            ("base: ./inner/../mine.yaml\n", r"its bases lead in a circle: \S*mine.yaml -> \S*mine.yaml; remove one `base:`$"),
            ("base: broken.yaml\n", r"builds on '\S*broken.yaml': recipe \S*broken.yaml has an unknown field 'optim.lrr'"),
            ("base: digits\noptim:\n  lrr: 1\n", r"^recipe \S*mine.yaml has an unknown field 'optim.lrr' \(did you mean 'lr'\?\)"),
            ("optim:\n  base: digits\n", r"^recipe \S*mine.yaml has an unknown field 'optim.base'"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, tmp_path, text, message):
        (tmp_path / "inner").mkdir()
        self.write(tmp_path, other="base: mine.yaml\n", broken="optim:\n  lrr: 1\n")
        path = self.write(tmp_path, mine=text)
        with pytest.raises(UsageError, match=message) as caught:
            load_recipe(path)
        assert "\n" not in str(caught.value)

    def test_the_annotated_text_is_the_recipe_and_shows_its_bases_as_comments(self, tmp_path):
        own = "base: digits\noptim:\n  lr: 0.3 # mine\n"
        path = self.write(tmp_path, mine=own)
        text = annotated_recipe(path)
        assert text.startswith(own)
        assert all(f"#   {line}".rstrip() in text.splitlines() for line in read_recipe_text("digits").splitlines())
        copy = self.write(tmp_path, copy=text)
        assert load_recipe(copy) == load_recipe(path)
        assert annotated_recipe("digits") == read_recipe_text("digits")


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "---\n", "null\n", "{}\n", "[]\n", "0\n", "false\n", "model: {}\ndata: {}\n", "name: mine\nabout: it\n"]
)
def test_a_file_that_says_nothing_is_no_recipe(text, tmp_path):
    (tmp_path / "empty.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"empty.yaml (is empty.*begin with `base: digits`|must hold fields such as `model:`)"):
        load_recipe(tmp_path / "empty.yaml")


def test_overrides_replace_single_fields():
    recipe = load_recipe("cifar10_wrn16_8", {"optim.lr": 0.2, "seed": 4, "block": "none"})
    assert (recipe.optim.lr, recipe.optim.weight_decay, recipe.seed, recipe.model.block) == (0.2, 5e-4, 4, None)
    again = override(recipe, {"model.block": "se"})
    assert (again.model.block, again.optim.lr) == ("se", 0.2)
    assert recipe.model.block is None


def test_overrides_inside_the_block():
    ablation = load_recipe("imagenet_ablation")
    assert override(ablation, {"model.block.squeeze": "max"}).model.block == BlockSpec(bias=False, squeeze="max")
    assert override(Recipe(), {"model.block": "se", "model.block.gate": "tanh"}).model.block == BlockSpec(gate="tanh")
    assert override(Recipe(), {"model.options.v1_5": True}).model.options == {"v1_5": True}
    assert override(Recipe(), {"model.reduction.2": 8}).model.reduction == {2: 8}


def test_overrides_leave_the_callers_data_alone():
    tree = {"optim": {"lr": 1.0}}
    build_recipe(tree, {"optim.lr": 2.0, "model.block": "none"})
    assert tree == {"optim": {"lr": 1.0}}


@pytest.mark.parametrize(
    ("name", "path"),
    [("lr", "optim.lr"), ("block", "model.block"), ("seed", "seed"), ("epochs", "training.epochs"), ("data.name", "data.name")],
)
def test_short_names(name, path):
    assert field_path(name) == path


def test_name_alone_is_the_recipes_own():
    assert field_path("name") == "name"
    assert override(Recipe(), {"name": "mine"}) == dataclasses.replace(Recipe(), name="mine")


def test_unknown_short_name_names_the_nearest():
    with pytest.raises(UsageError, match=r"no field 'epoch' \(did you mean 'training.epochs'\?\)"):
        override(Recipe(), {"epoch": 3})


def test_digest_is_equal_when_the_weights_are():
    base = load_recipe("digits")
    assert base.digest() == build_recipe(yaml.safe_load(base.to_yaml())).digest()
    changes = {
        "name": "x",
        "about": "y",
        "data.root": "/elsewhere",
        "data.download": True,
        "data.workers": 5,
        "data.on_device": True,
        "training.cuda_graph": False,
        "training.save_steps": 10,
    }
    assert set(NO_EFFECT_PATHS) == set(changes)
    for path, value in changes.items():
        assert override(base, {path: value}).digest() == base.digest()


def test_recipes_that_name_no_task_keep_their_digest():
    assert load_recipe("digits").digest() == "1b93d33d54a3"
    assert load_recipe("imagenet_ablation", {"data.root": "/x"}).digest() == "6e54406661b3"


@pytest.mark.parametrize("path", [path for path in field_paths() if path not in NO_EFFECT_PATHS])
def test_digest_changes_with_every_other_field(path):
    value: Any = load_recipe("digits")
    for name in path.split("."):
        value = getattr(value, name)
    other = {
        "task": "mine.py:task",
        "model.name": "preresnet110",
        "model.block": {"kind": "se", "squeeze": "max"},
        "model.placement": "post",
        "model.stages": [1],
        "model.options": {"zero_init_residual": True},
        "model.weights": "timm/resnet18",
        "model.init": "identity",
        "model.compress": "gate0.7",
        "data.name": "cifar100",
        "data.crop": "random_resized",
        "data.scale": [0.3, 0.9],
        "data.ratio": [0.3, 0.9],
        "data.masks": "index",
        "data.classes": ["ground", "cell"],
        "data.palette": [[0, 0, 0], [255, 0, 0]],
        "data.label_map": {"7": 1, "others": None},
        "data.volumes.plane": "coronal",
        "data.volumes.spacing": [1, 1, 2],
        "data.volumes.intensity": "none",
        "data.volumes.percentiles": [1, 99],
        "data.volumes.slices": 3,
        "data.volumes.val": ["a"],
        "data.volumes.patch": [8, 16, 16],
        "data.mean": [0.123],
        "data.std": [0.123],
        "data.range": [0, 4095],
        "data.sampler": "class_aware",
        "optim.name": "adamw",
        "optim.betas": [0.8, 0.99],
        "schedule.name": "plateau",
        "schedule.milestones": [1, 2, 12],
        "schedule.warmup_shape": "constant",
        "training.precision": "bf16",
        "training.nonfinite": "skip",
        "training.out_of_memory": "halve",
        "segmentation.loss": "dice",
        "segmentation.class_weights": [1.0, 2.0],
        "segmentation.zoom": [0.5, 2.0],
        "segmentation.gamma_correction": 2.0,
        "segmentation.region_sizes": [10, 20],
        "detection.shorter_sides": [640, 800],
    }.get(path)
    if other is None:
        other = (
            (not value)
            if isinstance(value, bool)
            else 7
            if value is None
            else value / 2
            if isinstance(value, float) and value
            else value + 1
        )
    assert override(load_recipe("digits"), {path: other}).digest() != load_recipe("digits").digest()


@pytest.mark.parametrize("source", ["folder", "places365"])
def test_another_folder_of_images_is_another_recipe(source, tmp_path):
    here, there = (override(Recipe(), {"data.name": source, "data.root": str(tmp_path / name)}).digest() for name in "ab")
    assert here != there


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("optim.lr", float("nan"), "between 0"),
        ("optim.lr", None, "optim.lr is empty"),
        ("training.epochs", 0, "at least 1, got 0"),
        ("data.batch_size", 0, "at least 1, got 0"),
        ("data.max_corrupt", 2.0, "between 0 and 1, got 2.0"),
        ("training", None, "training is empty"),
    ],
)
def test_numbers_outside_their_range_are_refused(path, value, words):
    section, _, name = path.partition(".")
    tree = {section: {name: value} if name else value}
    with pytest.raises(UsageError, match=words):
        build_recipe(tree)
