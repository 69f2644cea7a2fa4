"""An experiment as data: the frozen dataclass tree `Recipe`, read from YAML and flags and written back as resolved. No torch."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.resources import files
from math import inf
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from senet.errors import UsageError, choice_error, nearest
from senet.spec import BlockSpec, Placement


@dataclass(frozen=True)
class ModelRecipe:
    """Which network, and what recalibrates it.

    Args:
        name: a registry name (`senet models`).
        block: "auto" (what the name says), null for the plain network, a kind of block, or a BlockSpec.
        placement: where the block sits in its residual unit.
        stages: the stages that get a block, in the paper's numbering; null = all.
        reduction: reduction ratio, one number or one per stage; null = the kind's default.
        options: further options of the network (v1_5, stem_pool, zero_init_residual, ...).
    """

    name: str = "preresnet20"
    block: str | BlockSpec | None = "auto"
    placement: Placement = "standard"
    stages: tuple[int, ...] | None = None
    reduction: int | dict[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataRecipe:
    """Which images, and how they are augmented and batched.

    Args:
        name: the source of the images.
        root: folder of the images; digits needs none.
        download: fetch what is missing into root (CIFAR only).
        num_classes: number of classes that must be found; null = whatever the source has.
        image_size: side of the square the network sees, in pixels; null = the source's own size.
        crop: training crop: none, "pad" (zero-pad, then crop a random window) or "random_resized".
        pad: pixels of zero padding on each side for crop "pad".
        scale: range of the area of a random-resized crop, as a share of the image.
        ratio: range of the aspect ratio of a random-resized crop.
        flip: mirror half of the training images.
        rotation: largest rotation of a training image, in degrees.
        jitter: largest shift of each colour channel of a training image, in 1/255.
        cutout: side of the square that Cutout blanks, in pixels; 0 = none.
        eval_resize: shorter side before the centre crop of an image, in pixels; null = 256/224 of image_size for folder, else image_size.
        mean: mean of each channel of images in 0..1; null = the source's.
        std: standard deviation of each channel; null = the source's.
        sampler: "shuffle" (each image once an epoch) or "class_aware" (Relay BP: classes in turn).
        batch_size: images in a step, over all processes.
        eval_batch_size: images in an evaluation step; null = batch_size.
        workers: loader processes; null = what the machine can spare. Results do not depend on it.
        max_corrupt: share of unreadable images beyond which the run fails.
    """

    name: Literal["digits", "cifar10", "cifar100", "folder"] = "digits"
    root: str | None = None
    download: bool = False
    num_classes: int | None = None
    image_size: int | None = None
    crop: Literal["none", "pad", "random_resized"] = "none"
    pad: int = 4
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    rotation: float = 0.0
    jitter: float = 0.0
    cutout: int = 0
    eval_resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sampler: Literal["shuffle", "class_aware"] = "shuffle"
    batch_size: int = 128
    eval_batch_size: int | None = None
    workers: int | None = None
    max_corrupt: float = 0.001


@dataclass(frozen=True)
class OptimRecipe:
    """Stochastic gradient descent.

    Args:
        lr: learning rate at batch_size.
        momentum: momentum.
        nesterov: Nesterov momentum.
        weight_decay: L2 penalty.
        decay_norm_and_bias: whether BatchNorm parameters and biases decay too.
        clip_norm: largest norm of the gradient; null = no clipping.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = True
    clip_norm: float | None = None


@dataclass(frozen=True)
class ScheduleRecipe:
    """How the learning rate moves.

    Args:
        name: constant; step (x gamma at each milestone); cosine (per iteration, to 0); plateau (x gamma when validation loss stalls).
        milestones: epochs at which "step" multiplies by gamma.
        gamma: factor of "step" and "plateau".
        patience: epochs without a lower validation loss before "plateau" acts.
        max_drops: how often "plateau" lowers the rate; the run ends when it would have to once more. null = no limit.
        warmup_steps: iterations of linear warm-up.
        warmup_start: the rate at the first warm-up iteration, as a share of lr.
        warmup_shape: "linear" rises to lr; "constant" holds the first rate until the warm-up ends (ResNet-110).
    """

    name: Literal["constant", "step", "cosine", "plateau"] = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    patience: int = 10
    max_drops: int | None = None
    warmup_steps: int = 0
    warmup_start: float = 0.1
    warmup_shape: Literal["linear", "constant"] = "linear"


@dataclass(frozen=True)
class TrainingRecipe:
    """How long and how to train.

    Args:
        epochs: passes over the training images (an upper limit for the plateau schedule).
        label_smoothing: share of the target spread over all classes.
        freeze_bn_epochs: the last epochs in which BatchNorm keeps its statistics, gamma and beta.
        ema_decay: decay of the running average of the weights that is evaluated and saved; null = none.
        precision: fp32, or autocast to bf16 or fp16.
        channels_last: memory layout of weights and images.
        compile: run the network through torch.compile.
        save_steps: also write last.ckpt after every so many steps; null = each epoch only.
    """

    epochs: int = 10
    label_smoothing: float = 0.0
    freeze_bn_epochs: int = 0
    ema_decay: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    save_steps: int | None = None


@dataclass(frozen=True)
class Recipe:
    """An experiment, complete: the same recipe and seed give the same weights.

    Args:
        name: what the recipe is called; run folders begin with it.
        about: one line on what it is and where its numbers come from.
        seed: seeds the weights, the order of the images and every image's augmentation.
        model: the network and its block.
        data: the images.
        optim: the optimiser.
        schedule: the learning rate over time.
        training: length and numerics.
    """

    name: str = "custom"
    about: str = ""
    seed: int = 0
    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    optim: OptimRecipe = OptimRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    training: TrainingRecipe = TrainingRecipe()

    def __post_init__(self) -> None:
        for path, (low, high) in RANGES.items():
            section, name = path.split(".")
            value = getattr(getattr(self, section), name)
            if value is not None and not low <= value <= high:  # false for nan, too
                limits = f"at least {low}" if high == inf else f"between {low} and {high}"
                raise UsageError(f"{path} must be {limits}, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested plain data, ready for JSON or YAML."""
        tree = json.loads(json.dumps(asdict(self)))  # tuples become lists, per-stage keys strings: one form whatever the origin
        if isinstance(self.model.block, BlockSpec):
            tree["model"]["block"] = json.loads(json.dumps(self.model.block.to_dict()))
        return tree

    def to_yaml(self) -> str:
        """Return the recipe as YAML that `load_recipe` reads back to an equal recipe."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, width=120)

    def digest(self) -> str:
        """Return 12 hexadecimal digits that are equal when two recipes give the same weights."""
        tree = self.to_dict()
        for section, name in NO_EFFECT:
            (tree[section] if section else tree).pop(name)
        if self.data.name == "folder" and self.data.root is not None:  # elsewhere the name alone says which images
            tree["data"]["root"] = str(Path(self.data.root).expanduser().resolve())
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


RANGES = {
    "data.num_classes": (1, inf),
    "data.image_size": (1, inf),
    "data.pad": (0, inf),
    "data.rotation": (0, 180),
    "data.jitter": (0, 255),
    "data.cutout": (0, inf),
    "data.eval_resize": (1, inf),
    "data.batch_size": (1, inf),
    "data.eval_batch_size": (1, inf),
    "data.workers": (0, inf),
    "data.max_corrupt": (0, 1),
    "optim.lr": (0, 1e6),
    "optim.momentum": (0, 1),
    "optim.weight_decay": (0, 1e6),
    "optim.clip_norm": (0, inf),
    "schedule.gamma": (0, 1),
    "schedule.patience": (0, inf),
    "schedule.max_drops": (0, inf),
    "schedule.warmup_steps": (0, inf),
    "schedule.warmup_start": (0, 1),
    "training.epochs": (1, inf),
    "training.label_smoothing": (0, 1),
    "training.freeze_bn_epochs": (0, inf),
    "training.save_steps": (1, inf),
}
"""Smallest and largest value of a number."""

NO_EFFECT = (("", "name"), ("", "about"), ("data", "root"), ("data", "download"), ("data", "workers"), ("training", "save_steps"))
"""(section, field) of what a recipe can change without changing the weights it trains."""


def recipe_parser(**kwargs: Any) -> ArgumentParser:
    """Return a parser that has every field of `Recipe` as a flag: `--optim.lr 0.1`."""
    parser = ArgumentParser(exit_on_error=False, **kwargs)
    parser.add_class_arguments(Recipe)
    return parser


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("senet").joinpath("recipes").iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or from a YAML file, then apply dotted overrides such as `{"model.reduction": 8}`.

    Raises:
        UsageError: if there is no such recipe or file, or as `build_recipe` does.
    """
    text = read_recipe_text(source)
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"recipe {source} is not valid YAML: {' '.join(str(error).split())}") from error
    return build_recipe(tree, overrides, where=f"recipe {source}")


def read_recipe_text(source: str | Path) -> str:
    """Return the YAML text of a recipe that comes with the package, or of a file.

    Raises:
        UsageError: if there is no such recipe (the nearest is named) or file.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"no recipe file {str(source)!r}; `senet recipes` lists the recipes that come with the package")
        return path.read_text(encoding="utf-8")
    if str(source) not in list_recipes():
        raise choice_error("recipe", source, list_recipes())
    return files("senet").joinpath("recipes", f"{source}.yaml").read_text(encoding="utf-8")


def build_recipe(tree: Any, overrides: Mapping[str, Any] | None = None, *, where: str = "recipe") -> Recipe:
    """Build a recipe from nested plain data and dotted overrides.

    Raises:
        UsageError: for an unknown field (the nearest is named) or a value of the wrong type.
    """
    if not isinstance(tree, Mapping):
        raise UsageError(f"{where} must hold fields such as `model:` and `data:`, got {tree!r}")
    tree = json.loads(json.dumps(tree))
    for path, value in (overrides or {}).items():
        _set(tree, field_path(path), value)
    _check_names(tree, Recipe, "", where)
    model = tree.get("model", {})
    if model.get("block") == "none":
        model["block"] = None
    if isinstance(model.get("block"), Mapping):
        model["block"] = BlockSpec.from_dict(model["block"])
    try:
        parser = recipe_parser()
        return Recipe(**vars(parser.instantiate(parser.parse_object(tree))))
    except ArgumentError as error:
        raise UsageError(f"{where}: {plain_message(error)}") from error


def plain_message(error: ArgumentError) -> str:
    """Return the parser's complaint as one line in a user's words."""
    text = " ".join(str(error).split())
    for pattern, words in (
        (r'Parser key "([^"]*)": ', r"\1: "),
        (r"Expected an? typing\.Literal\[([^\]]*)\]", r"expected one of \1"),
        (r"Expected an? <class '(\w+)'>", r"expected \1"),
        (r"\. Got value: ", ", got "),
        (r"Does not validate .*? Subtypes: \[(.*)\] Errors: .* Given value: ", r"expected one of \1; got "),
        (r"<class 'NoneType'>", "null"),
        (r"<class '([\w.]+)'>", r"\1"),
    ):
        text = re.sub(pattern, words, text)
    return text


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with dotted fields replaced: `override(recipe, {"model.block": "se", "seed": 1})`."""
    return build_recipe(recipe.to_dict(), changes)


def field_paths() -> list[str]:
    """Return the dotted path of every field of a recipe."""
    return list(_paths(Recipe))


def field_path(name: str) -> str:
    """Complete a field's name to its dotted path: "block" is "model.block", "lr" is "optim.lr".

    Raises:
        UsageError: if no field, or more than one, ends so.
    """
    paths = field_paths()
    parents = {"model.block", "model.options", "model.reduction"}  # these hold mappings: a further part names a key in them
    if name in paths or any(name.startswith(f"{parent}.") for parent in parents):
        return name
    ends = [path for path in paths if path.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UsageError(f"{name!r} is a field of several sections; say which: {', '.join(ends)}")
    raise UsageError(f"a recipe has no field {name!r}{nearest(name, paths)}; `senet recipes show digits` prints them all")


def _paths(cls: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(cls)
    for entry in fields(cls):
        nested = hints[entry.name]
        if is_dataclass(nested) and isinstance(nested, type):
            yield from _paths(nested, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}"


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        inner = tree.get(name)
        if name == "block" and isinstance(inner, str):  # "se" with an option becomes {"kind": "se", option: value}
            inner = {} if inner in ("auto", "none") else {"kind": inner}
        tree[name] = inner if isinstance(inner, dict) else {}
        tree = tree[name]
    tree[last] = value


def _check_names(tree: Mapping[str, Any], cls: type, prefix: str, where: str) -> None:
    hints = get_type_hints(cls)
    for name, value in tree.items():
        if name not in hints:
            allowed = ", ".join(prefix + known for known in hints)
            raise UsageError(f"{where} has an unknown field {prefix + str(name)!r}{nearest(name, hints)}; allowed: {allowed}")
        if value is None and NoneType not in get_args(hints[name]):
            raise UsageError(f"{where}: {prefix}{name} is empty; give it a value, or leave it out for its default")
        if name == "block" and isinstance(value, Mapping):
            _check_names(value, BlockSpec, f"{prefix}{name}.", where)
        if is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise UsageError(f"{where}: {prefix}{name} must hold fields, got {value!r}")
            _check_names(value, hints[name], f"{prefix}{name}.", where)
