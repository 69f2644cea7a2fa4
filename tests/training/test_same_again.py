"""The same recipe, seed and number of processes give the same weights, bit for bit on a CPU: twice, and stopped at any step and gone on."""

import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from data.volumes.made_volumes import write_case
from faults.forked import code_of
from faults.ranks import fork_ranks, told
from made_runs import assert_same_run, tiny, train_until
from senet.recipe import Recipe, load_recipe, override
from senet.training import loop
from senet.training.interruption import AGREE_EVERY, Interrupted
from senet.training.job import Job
from senet.training.loop import train
from senet.training.step import train_step
from tasks.detection import made_rectangles
from tasks.segmentation import made_masks

EVERY = {"training.epochs": 2, "training.ema_decay": 0.9, "training.accumulate": 2, "training.save_steps": 2, "data.workers": 0}
"""What each task is trained with."""

ON_DEVICE = {"data__on_device": True, "data__flip": True, "data__jitter": 5.0, "data__cutout": 2}


def volumes() -> Recipe:
    """Return a recipe on patches of four volumes in the folder "volumes", which it makes."""
    for number in range(4):
        write_case(Path("volumes"), number)
    tree = {
        "data": {"root": "volumes", "num_classes": None, "image_size": 32, "rotation": 20, "batch_size": 2, "flip": True},
        "model": {"name": "scse_unet3d", "options": {"width": 4, "kernel": 3, "depth": 2}},
        "data.volumes": {"spacing": None, "val": ["case1", "case2"], "patch": [8, 8, 8], "patches": 4},
    }
    fields = {f"{section}.{name}": value for section, values in tree.items() for name, value in values.items()}
    return load_recipe("malc", {**fields, "segmentation.zoom": [0.8, 1.25]})


RECIPES: dict[str, Callable[[], Recipe]] = {
    "classification, augmented on the device": partial(tiny, **ON_DEVICE),
    "segmentation": made_masks.tiny_masks,
    "volumes": volumes,
    "detection": made_rectangles.tiny_boxes,
}


def checked(recipe: Recipe, seed: str) -> None:
    """Train by a recipe twice in the working folder, then with an end at a step that is drawn, and assert that all are the same."""
    train(recipe, folder="whole", progress=False)
    torch.manual_seed(1)  # what a process has drawn before decides nothing
    train(recipe, folder="again", progress=False)
    assert_same_run(Path("whole"), Path("again"))
    steps = int(torch.load("whole/last.ckpt", weights_only=True)["rows"][-1]["step"])
    step = random.Random(seed).randrange(steps)
    train_until(step, recipe, Path("stopped"))
    torch.manual_seed(2)
    train(resume="stopped", progress=False)
    assert_same_run(Path("whole"), Path("stopped"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
@pytest.mark.parametrize("name", RECIPES)
def test_twice_and_stopped_at_a_drawn_step(name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # of volumes that are prepared
    torch.set_num_threads(1)
    checked(override(RECIPES[name](), EVERY), f"{name} {seed}")


def test_of_two_processes_too(tmp_path: Path) -> None:
    recipe = override(tiny(), EVERY | {"training.epochs": 3})

    def interrupted(job: Job, *args: Any) -> Any:
        if job.state.step == AGREE_EVERY - 3:  # they agree a few steps later
            signal.raise_signal(signal.SIGTERM)
        return train_step(job, *args)

    def work(rank: int) -> None:
        for name in ("whole", "again"):
            train(recipe, folder=tmp_path / name, progress=False)
        loop.train_step = interrupted
        with pytest.raises(Interrupted):
            train(recipe, folder=tmp_path / "stopped", progress=False)
        loop.train_step = train_step
        train(resume=tmp_path / "stopped", progress=False)

    codes = [code_of(process) for process in fork_ranks(work, tmp_path)]
    assert codes == [0, 0], told(tmp_path)
    for name in ("again", "stopped"):
        assert_same_run(tmp_path / "whole", tmp_path / name)
