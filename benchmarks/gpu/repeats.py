"""Whether training on the device repeats itself bit for bit, and goes on as if it had never stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.epoch import noise_of_cifar10
from benchmarks.gpu.place import Found, Place
from senet.recipe import Recipe, load_recipe
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import latest_checkpoint
from senet.training.loop import train

FORMS: dict[str, dict[str, Any]] = {
    "bf16": {"training.precision": "bf16"},
    "bf16, launched one by one": {"training.precision": "bf16", "training.cuda_graph": False},
    "fp32": {"training.precision": "fp32"},
}
"""How it is trained -> changes of the recipe."""
DETERMINISTIC = "bf16, deterministic algorithms"
EPOCHS = 2
IMAGES = 2_000
"""Of each of six files; the last is validated."""


def repeats(place: Place) -> Iterator[Found]:
    """Yield for each form by how much weights differ at most: of two runs, and of one that ended after an epoch and went on."""
    root = place.data or noise_of_cifar10(place.folder / "cifar10", 8 if place.quick else IMAGES)
    changes: dict[str, Any] = {
        "model.name": "preresnet20",
        "data.root": str(root),
        "data.batch_size": 4 if place.quick else 128,
        "data.workers": 0,
        "training.epochs": EPOCHS,
        "training.ema_decay": 0.99,
        "schedule.name": "constant",
        "schedule.warmup_steps": 0,
    }
    forms = {"fp32": FORMS["fp32"]} if place.quick else FORMS
    for name, form in forms.items():
        recipe = load_recipe("cifar10_preresnet110", changes | {"model.block": "se"} | form)
        yield f"repeats, {name}", differences(recipe, place.folder / name.replace(" ", "-").replace(",", ""))
    if not place.quick:
        recipe = load_recipe("cifar10_preresnet110", changes | {"model.block": "se"} | FORMS["bf16"])
        with deterministic():
            yield f"repeats, {DETERMINISTIC}", differences(recipe, place.folder / "deterministic")


def differences(recipe: Recipe, folder: Path) -> dict[str, float]:
    """Train twice, and once more in two pieces, and return the largest difference of any weight to the first run's."""
    first, second, pieces = (folder / name for name in ("first", "second", "pieces"))
    for run in (first, second):
        train(recipe, folder=run, progress=False)
    train(replace(recipe, training=replace(recipe.training, epochs=1)), folder=pieces, progress=False)
    train(recipe, resume=pieces, accept_changes=True, progress=False)
    return {"repeated": largest(first, second), "resumed": largest(first, pieces)}


def largest(one: Path, other: Path) -> float:
    """Return the largest difference between the last weights of two runs; 0 = the same bits."""
    mine, theirs = (latest_checkpoint(RunFolder(run))["model"] for run in (one, other))
    return max(float((tensor.double() - theirs[name].double()).abs().max()) for name, tensor in mine.items())


@contextmanager
def deterministic() -> Iterator[None]:
    """Let PyTorch take algorithms only that repeat themselves; cuBLAS asks for CUBLAS_WORKSPACE_CONFIG, which the part sets."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
