"""The clock of the machine jumps: what a run measures, writes and goes on from does not depend on it."""

import itertools
import os
import time
from pathlib import Path

import pytest
import torch

from made_runs import assert_same_run, tiny, train_until
from senet.results.run_folder import RunFolder
from senet.training.loop import train

DAY = 86_400.0
RECIPE = tiny(training__epochs=2, training__save_steps=3)


def test_a_clock_that_jumps_to_and_fro_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    train(RECIPE, folder=tmp_path / "whole", progress=False)
    clock, jumps = time.time, itertools.cycle((DAY, -DAY, 0.0))
    monkeypatch.setattr(time, "time", lambda: clock() + next(jumps))
    run = RunFolder(tmp_path / "run")
    train_until(6, RECIPE, run.path)
    os.utime(run.checkpoint, (0, 0))  # saved when the clock was wrong, and older than the one before
    train(resume=run.path, progress=False)
    assert_same_run(run.path, tmp_path / "whole")
    assert all(0 < row["seconds"] < DAY / 2 for row in run.metrics())
    assert 0 < run.result().seconds < DAY / 2
