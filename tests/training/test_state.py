"""Which epoch is the best, and what was told of it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from senet.data.loaders import CorruptLog
from senet.recipe import ScheduleRecipe
from senet.results.metric import Metric
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint
from senet.training.schedule import Schedule
from senet.training.state import TrainingState


def fresh(epochs: int) -> TrainingState:
    model = nn.Linear(1, 1)
    schedule = Schedule(ScheduleRecipe(), 0.1, steps_per_epoch=1, epochs=epochs)
    fabric = Fabric(accelerator="cpu", devices=1)
    return TrainingState(fabric, model, torch.optim.SGD(model.parameters()), schedule, None, CorruptLog(0, 1))


def best_of(primary: Metric, *values: tuple[float, float]) -> int:
    """Return the best of epochs with these figures of the metric and losses, counted from 0."""
    state = fresh(len(values))
    rows = [{"epoch": epoch, primary.column: value, "val_loss": loss} for epoch, (value, loss) in enumerate(values)]
    improved = [state.end_epoch(row, primary) for row in rows]
    assert state.best is not None
    best = int(state.best["epoch"])
    assert best == max(epoch for epoch, better in enumerate(improved) if better)
    return best


HIGH, LOW = Metric("accuracy", "accuracy"), Metric("error", "error", higher_is_better=False)


@pytest.mark.parametrize(
    ("primary", "values", "best"),
    [
        (HIGH, [(1, 1), (3, 9), (2, 0)], 1),
        (LOW, [(3, 1), (1, 9), (2, 0)], 1),
        (HIGH, [(2, 1), (2, 1), (2, 2)], 0),
        (HIGH, [(2, 2), (2, 1), (2, 3)], 1),
        (LOW, [(2, 2), (2, 1), (2, 3)], 1),
        (LOW, [(math.nan, 1), (5, 1), (math.nan, 0)], 1),
        (HIGH, [(2, math.nan), (2, 3), (2, math.nan)], 1),
    ],
    ids=["higher", "lower", "first of equals", "lower loss", "lower loss, too", "not a number", "loss not a number"],
)
def test_the_metric_decides_then_the_lower_loss_then_the_earlier(primary: Metric, values: list[tuple[float, float]], best: int) -> None:
    assert best_of(primary, *values) == best


def test_tables_of_the_best_epoch_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    run, state = RunFolder(tmp_path), fresh(3)
    (run.path / "recipe.yaml").touch()  # it has begun

    def end(state: TrainingState, accuracy: float) -> dict[str, Any]:
        row = {"epoch": state.epoch + 1, HIGH.column: accuracy, "val_loss": 1.0, "seconds": 1.0}
        tables = {"class": {"a": {"accuracy": accuracy}}}
        state.end_epoch(row, HIGH, tables)
        run.write_tables(state.best_told, {"epoch": state.epoch, "tables": tables})
        told = json.loads((tmp_path / "tables.json").read_text())
        return {name: (entry["epoch"], entry["tables"]["class"]["a"]["accuracy"]) for name, entry in told.items()}

    assert end(state, 50.0) == {"best": (1, 50.0), "last": (1, 50.0)}
    state.save(run)
    assert end(state, 60.0) == {"best": (2, 60.0), "last": (2, 60.0)}  # and then the run was killed

    resumed, saved = fresh(3), read_checkpoint(run.checkpoint)
    resumed.restore(saved, HIGH, "last.ckpt")
    assert end(resumed, 40.0) == {"best": (1, 50.0), "last": (2, 40.0)}

    del saved["best_told"]  # as earlier versions wrote it
    older = fresh(3)
    older.restore(saved, HIGH, "last.ckpt")
    assert end(older, 55.0) == {"best": (2, 55.0), "last": (2, 55.0)}
