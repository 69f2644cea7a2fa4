"""Which epoch is the best."""

import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from senet.data.loaders import CorruptLog
from senet.recipe import ScheduleRecipe
from senet.results.metric import Metric
from senet.training.schedule import Schedule
from senet.training.state import TrainingState


def best_of(primary: Metric, *values: tuple[float, float]) -> int:
    """Return the best of epochs with these figures of the metric and losses, counted from 0."""
    model = nn.Linear(1, 1)
    schedule = Schedule(ScheduleRecipe(), 0.1, steps_per_epoch=1, epochs=len(values))
    fabric = Fabric(accelerator="cpu", devices=1)
    state = TrainingState(fabric, model, torch.optim.SGD(model.parameters()), schedule, None, CorruptLog(0, 1))
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
