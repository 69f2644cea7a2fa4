"""A recipe small enough to train in a second, runs that are interrupted or take two processes, and what two runs must share."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from senet.recipe import Recipe, build_recipe
from senet.results.run_folder import RunFolder
from senet.training import loop, saving
from senet.training.interruption import Interrupted
from senet.training.job import Job
from senet.training.loop import train
from senet.training.state import TrainingState
from senet.training.step import train_step
from senet.training.tally import Figures

TIMES = ("seconds", "images_per_second")


def tiny(**changes: Any) -> Recipe:
    """Return a recipe of 3 epochs of 4 steps on digits of 4 x 4 pixels; dotted names are written with two underscores."""
    tree = {
        "name": "tiny",
        "model": {"name": "cifar_resnet20", "block": "se"},
        "data": {"name": "digits", "image_size": 4, "crop": "pad", "pad": 1, "rotation": 10, "batch_size": 256},
        "training": {"epochs": 3},
    }
    return build_recipe(tree, {name.replace("__", "."): value for name, value in changes.items()})


def train_until(step: int, recipe: Recipe, folder: Path) -> None:
    """Begin a run, and interrupt it by Ctrl-C as it is about to take a step, counted from 0: it saves and ends."""

    def interrupted(job: Job, *args: Any) -> Figures:
        if job.state.step == step:
            signal.raise_signal(signal.SIGINT)
        return train_step(job, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", interrupted)
        with pytest.raises(Interrupted):
            train(recipe, folder=folder, progress=False)


def train_by_two(words: Sequence[str], folder: Path) -> None:
    """Run `senet train` in two processes of one thread each, that work in a folder."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "senet.cli.main", "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def written_checkpoints(recipe: Recipe, folder: Path, *, at_once: bool = False) -> list[dict[str, Any]]:
    """Train, and return what every checkpoint of the run was to hold; `at_once` = all of it was copied before the next step began."""
    written = list[dict[str, Any]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "write_checkpoint", lambda run, state: written.append(deepcopy(state)))
        if at_once:
            patch.setattr(TrainingState, "_still", lambda self: ())
        train(recipe, folder=folder, progress=False)
    return written


def assert_same_run(first: Path, second: Path) -> None:
    """Assert that two run folders hold the same weights, optimiser, average, rows: bit for bit, but for times."""
    one, other = (RunFolder(folder) for folder in (first, second))
    assert_same(*(torch.load(run.checkpoint, weights_only=True) for run in (one, other)))
    assert_same(load_file(one.weights), load_file(other.weights))
    assert without_times(one.metrics()) == without_times(other.metrics())


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Assert that two checkpoints are equal bit for bit, but for times."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one.keys() - set(TIMES):
            assert_same(one[name], other[name], f"{path}/{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return rows of metrics without what the clock says."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
