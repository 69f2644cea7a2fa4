"""Learning rates for batches of another size: the linear rule and its warm-up (Goyal et al., 1706.02677, sections 2.1 and 2.2)."""

from dataclasses import dataclass, replace

from senet.recipe import Recipe, ScheduleRecipe
from senet.training.schedule import SHARE_OF_WARMUP

WARMUP_EPOCHS = 5
"""Epochs in which the rate of larger batches rises from that of the recipe's, as in the paper."""


@dataclass(frozen=True)
class ScaledRate:
    """Learning rate of a run.

    Args:
        lr: what the schedule multiplies.
        schedule: the recipe's, with a warm-up where larger batches need one.
        remark: what became of the recipe's rate, in a line; empty where it is as it was.
    """

    lr: float
    schedule: ScheduleRecipe
    remark: str = ""


def scaled_rate(recipe: Recipe, steps_per_epoch: int, batch_size: int) -> ScaledRate:
    """Return the rate of a run: the recipe's, or that in proportion to its batches.

    Batches larger than those that the rate is for get a warm-up from the recipe's own rate, unless the recipe has a warm-up already.

    Args:
        recipe: `optim.lr_batch_size` says which batches `optim.lr` is for.
        steps_per_epoch: steps in an epoch.
        batch_size: images in a step of the run, over all processes.
    """
    rate, base, schedule = recipe.optim.lr, recipe.optim.lr_batch_size, recipe.schedule
    if base is None or base == batch_size:
        return ScaledRate(rate, schedule)
    factor = batch_size / base
    if factor > 1 and not schedule.warmup_steps:
        steps, total = WARMUP_EPOCHS * steps_per_epoch, recipe.training.epochs * steps_per_epoch
        steps = steps if steps < total else total // SHARE_OF_WARMUP
        schedule = replace(schedule, warmup_steps=steps, warmup_start=1 / factor, warmup_shape="linear")
    lr, steps = rate * factor, schedule.warmup_steps
    warmup = f", after a warm-up of {steps} steps from {lr * schedule.warmup_start:g}" if steps else ""
    return ScaledRate(lr, schedule, f"optim.lr {rate:g} is for batches of {base}: those of {batch_size} train at {lr:g}{warmup}")
