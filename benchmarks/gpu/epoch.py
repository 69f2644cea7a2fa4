"""Epochs of `senet train` on CIFAR-10, validation included, as users start them."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.place import Found, Place
from senet.data.cifar import CANONICAL
from senet.recipe import field_paths, load_recipe
from senet.results.run_folder import RunFolder
from senet.training.loop import train

ROWS: dict[str, dict[str, Any]] = {
    "preresnet20 se": {"model.name": "preresnet20", "model.block": "se"},
    "preresnet20 plain": {"model.name": "preresnet20"},
    "preresnet110 plain": {"model.name": "preresnet110"},
}
"""What is trained -> changes of the recipe: what is promised."""
MORE_ROWS: dict[str, dict[str, Any]] = {
    "preresnet110 se": {"model.name": "preresnet110", "model.block": "se"},
    "preresnet20 plain, launched one by one": {"model.name": "preresnet20", "training.cuda_graph": False, "training.epochs": 2},
}
"""What else is trained."""
EPOCHS = 4
"""Of which the first, with its compilation, is not counted."""


def noise_of_cifar10(folder: Path, each: int) -> Path:
    """Write noise as CIFAR-10's files hold their images, six files of `each`, and return the root."""
    layout, random = CANONICAL["cifar10"], np.random.default_rng(0)
    home = folder / layout.folder
    home.mkdir(parents=True, exist_ok=True)
    for name in (*layout.train, *layout.val):
        pixels = random.integers(0, 256, (each, 3072), dtype=np.uint8)
        (home / name).write_bytes(pickle.dumps({"data": pixels, layout.labels: [i % 10 for i in range(each)]}, protocol=2))
    (home / layout.meta[0]).write_bytes(pickle.dumps({layout.meta[1]: [f"class {i}" for i in range(10)]}, protocol=2))
    return folder


def epochs(place: Place) -> Iterator[Found]:
    """Yield the seconds of single epochs, for each network of which they are promised."""
    yield from epochs_of(place, ROWS)


def more_epochs(place: Place) -> Iterator[Found]:
    """Yield the seconds of single epochs of the others."""
    yield from epochs_of(place, MORE_ROWS)


def epochs_of(place: Place, rows: dict[str, dict[str, Any]]) -> Iterator[Found]:
    """Yield the seconds of single epochs, for each row."""
    root = place.data or noise_of_cifar10(place.folder / "cifar10", 8 if place.quick else 10_000)
    shared: dict[str, Any] = {
        "data.root": str(root),
        "data.batch_size": 4 if place.quick else 128,
        "training.epochs": 2 if place.quick else EPOCHS,
        "training.precision": "bf16" if place.on_cuda else "fp32",
        "data.workers": 0 if place.quick else None,
        "schedule.name": "constant",
        "schedule.warmup_steps": 0,
    }
    for name, changes in (dict(list(rows.items())[:1]) if place.quick else rows).items():
        known = {field: value for field, value in {**shared, **changes}.items() if field in field_paths()}
        recipe = load_recipe(
            "cifar10_preresnet110", {"model.block": None} | {key: value for key, value in known.items() if value is not None}
        )
        folder = place.folder / name.replace(" ", "-").replace(",", "")
        train(recipe, folder=folder, progress=False)
        metrics = RunFolder(folder).metrics()
        seconds = [row["seconds"] for row in metrics]
        yield name, {"seconds": seconds, "counted": seconds[1:], "images_per_second": [row["images_per_second"] for row in metrics]}
