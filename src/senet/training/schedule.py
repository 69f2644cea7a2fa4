"""The learning rate as a function of the step. Only "plateau" remembers anything, so only it has a state to save."""

import math
from collections.abc import Callable
from typing import Any

from senet.errors import UsageError
from senet.recipe import ScheduleRecipe

SHARE_OF_WARMUP = 10
"""What a run's steps are divided by where the recipe's warm-up would not end within them: its warm-up then takes a tenth."""


class Schedule:
    """Learning rate of every step, and the end of a run whose plateau schedule has dropped often enough.

    Args:
        recipe: shape of the curve.
        lr: learning rate that the shape multiplies.
        steps_per_epoch: iterations in an epoch.
        epochs: epochs in the run.

    Attributes:
        warmup_steps: steps of the warm-up: the recipe's, or a tenth of the run where the recipe's would not end before the run does.

    Raises:
        UsageError: for a step schedule without milestones.
    """

    def __init__(self, recipe: ScheduleRecipe, lr: float, *, steps_per_epoch: int, epochs: int) -> None:
        self.recipe = recipe
        self.lr = lr
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = steps_per_epoch * epochs
        if recipe.name == "step" and not recipe.milestones:
            raise UsageError("schedule.name 'step' needs schedule.milestones, the epochs at which the rate drops, e.g. [81, 122]")
        fits = recipe.warmup_steps < self.total_steps
        self.warmup_steps = recipe.warmup_steps if fits else self.total_steps // SHARE_OF_WARMUP
        self.lowest_loss = math.inf
        self.stalled = 0
        self.drops = 0
        self.exhausted = False

    @property
    def remark(self) -> str:
        """What a user should know of the warm-up; empty where it is the recipe's."""
        asked, total = self.recipe.warmup_steps, self.total_steps
        if asked == self.warmup_steps:
            return ""
        return f"schedule.warmup_steps {asked} does not end within a run of {total} steps: the warm-up takes {self.warmup_steps} of them"

    def rate(self, step: int) -> float:
        """Return the learning rate of one iteration, counted from 0 over the whole run."""
        return self.lr * SCHEDULES[self.recipe.name](self, step) * self._warmup(step)

    def observe(self, val_loss: float) -> None:
        """Take note of an epoch's validation loss; "plateau" lowers the rate after `patience` epochs that brought no lower one."""
        if self.recipe.name != "plateau":
            return
        if val_loss < self.lowest_loss:
            self.lowest_loss, self.stalled = val_loss, 0
            return
        self.stalled += 1
        if self.stalled < self.recipe.patience:
            return
        if self.drops == self.recipe.max_drops:
            self.exhausted = True
        else:
            self.drops, self.stalled = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what "plateau" remembers."""
        return {name: getattr(self, name) for name in ("lowest_loss", "stalled", "drops", "exhausted")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)

    def _warmup(self, step: int) -> float:
        if step >= self.warmup_steps:
            return 1.0
        start = self.recipe.warmup_start
        progress = {"linear": step / self.warmup_steps, "constant": 0.0}[self.recipe.warmup_shape]
        return start + (1 - start) * progress


def _constant(schedule: Schedule, step: int) -> float:
    return 1.0


def _step(schedule: Schedule, step: int) -> float:
    epoch = step // schedule.steps_per_epoch
    return schedule.recipe.gamma ** sum(epoch >= milestone for milestone in schedule.recipe.milestones)


def _cosine(schedule: Schedule, step: int) -> float:
    # One half-wave per run (Gastaldi, 1705.07485), begun when the warm-up ends.
    progress = max(0, step - schedule.warmup_steps) / (schedule.total_steps - schedule.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _plateau(schedule: Schedule, step: int) -> float:
    return schedule.recipe.gamma**schedule.drops


SCHEDULES: dict[str, Callable[[Schedule, int], float]] = {"constant": _constant, "step": _step, "cosine": _cosine, "plateau": _plateau}
"""Name of a schedule -> factor on the learning rate at a step."""
