"""Rates in proportion to the batch, as Goyal et al. have them: 0.1 for 256 images is 3.2 for 8192, after five epochs of warm-up."""

import pytest

from made_runs import tiny
from senet.results.origin import check_origin, origin_of
from senet.training.scaling import scaled_rate
from senet.training.schedule import Schedule

PAPER = {"optim__lr": 0.1, "optim__lr_batch_size": 256, "training__epochs": 90}
STEPS = 156
"""Of 8192 images in an epoch of ImageNet's 1,281,167."""


def test_the_papers_minibatch_of_8192() -> None:
    recipe = tiny(**PAPER)
    scaled = scaled_rate(recipe, STEPS, 8192)
    schedule = Schedule(scaled.schedule, scaled.lr, steps_per_epoch=STEPS, epochs=90)
    assert [schedule.rate(step) for step in (0, 5 * STEPS // 2, 5 * STEPS, 80 * STEPS)] == pytest.approx([0.1, 1.65, 3.2, 3.2])
    assert scaled.remark == "optim.lr 0.1 is for batches of 256: those of 8192 train at 3.2, after a warm-up of 780 steps from 0.1"
    origin = origin_of(recipe, {"classes": [], "images": {}}, rate=scaled.remark)
    check_origin(origin, "origin.json")
    assert origin["rate"] == scaled.remark


def test_a_recipes_own_warmup_stays() -> None:
    recipe = tiny(**PAPER, schedule__warmup_steps=10, schedule__warmup_start=0.5)
    scaled = scaled_rate(recipe, STEPS, 512)
    assert scaled.schedule is recipe.schedule
    assert scaled.remark.endswith("those of 512 train at 0.2, after a warm-up of 10 steps from 0.1")


def test_smaller_batches_need_no_warmup() -> None:
    scaled = scaled_rate(tiny(**PAPER), STEPS, 64)
    assert (scaled.lr, scaled.schedule.warmup_steps) == (0.025, 0)
    assert scaled.remark == "optim.lr 0.1 is for batches of 256: those of 64 train at 0.025"


def test_a_short_run_warms_up_for_a_tenth() -> None:
    assert scaled_rate(tiny(**PAPER | {"training__epochs": 5}), 20, 512).schedule.warmup_steps == 10


@pytest.mark.parametrize("base", [None, 512])
def test_without_another_batch_nothing_changes(base: int | None) -> None:
    recipe = tiny(**PAPER | {"optim__lr_batch_size": base})
    scaled = scaled_rate(recipe, STEPS, 512)
    assert (scaled.lr, scaled.schedule, scaled.remark) == (0.1, recipe.schedule, "")
