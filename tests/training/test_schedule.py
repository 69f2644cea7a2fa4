"""Each schedule against its formula, written here once more."""

import math

import pytest

from senet.errors import UsageError
from senet.recipe import ScheduleRecipe
from senet.training.schedule import Schedule


def schedule(epochs: int = 10, steps_per_epoch: int = 5, lr: float = 0.4, **fields) -> Schedule:
    return Schedule(ScheduleRecipe(**fields), lr, steps_per_epoch=steps_per_epoch, epochs=epochs)


def test_constant() -> None:
    assert {schedule().rate(step) for step in range(50)} == {0.4}


def test_step_drops_at_the_first_iteration_of_each_milestone() -> None:
    rates = [schedule(name="step", milestones=(4, 8), gamma=0.1).rate(step) for step in range(50)]
    assert rates == pytest.approx([0.4] * 20 + [0.04] * 20 + [0.004] * 10)


def test_cosine_moves_at_every_iteration_from_lr_towards_zero() -> None:
    curve = schedule(name="cosine")
    assert [curve.rate(step) for step in range(50)] == pytest.approx([0.2 * (1 + math.cos(math.pi * t / 50)) for t in range(50)])
    assert curve.rate(0) == 0.4
    assert 0 < curve.rate(49) < 0.001


def test_linear_warmup_rises_to_lr() -> None:
    curve = schedule(warmup_steps=4, warmup_start=0.2)
    assert [curve.rate(step) for step in range(6)] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4])


def test_constant_warmup_holds_the_first_rate() -> None:
    curve = schedule(name="step", milestones=(2,), warmup_steps=3, warmup_start=0.1, warmup_shape="constant")
    assert [curve.rate(step) for step in (0, 2, 3, 9, 10)] == pytest.approx([0.04, 0.04, 0.4, 0.4, 0.04])


def test_cosine_begins_when_the_warmup_ends() -> None:
    curve = schedule(name="cosine", warmup_steps=10)
    assert curve.rate(10) == 0.4
    assert curve.rate(30) == pytest.approx(0.2)


def test_plateau_drops_after_patience_epochs_without_a_lower_loss() -> None:
    curve = schedule(name="plateau", patience=2, gamma=0.5)
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.5, 1.9, 1.95, 1.9, 1.0):
        curve.observe(loss)
        rates.append(curve.rate(0))
    assert rates == pytest.approx([0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1])
    assert not curve.exhausted


def test_plateau_ends_the_run_instead_of_one_drop_too_many() -> None:
    curve = schedule(name="plateau", patience=1, max_drops=2)
    history = []
    for loss in (1.0, 1.0, 1.0, 1.0):
        curve.observe(loss)
        history.append((curve.drops, curve.exhausted))
    assert history == [(0, False), (1, False), (2, False), (2, True)]


def test_a_loss_that_is_not_a_number_counts_as_no_progress() -> None:
    curve = schedule(name="plateau", patience=1)
    curve.observe(math.nan)
    assert curve.drops == 1


def test_only_plateau_listens() -> None:
    curve = schedule(name="cosine", patience=1, max_drops=0)
    for _ in range(5):
        curve.observe(1.0)
    assert not curve.exhausted


def test_the_state_carries_over() -> None:
    curve, other = (schedule(name="plateau", patience=3) for _ in range(2))
    for loss in (1.0, 2.0, 2.0, 2.0, 2.0):
        curve.observe(loss)
    other.load_state_dict(curve.state_dict())
    for loss in (2.0, 2.0):
        curve.observe(loss)
        other.observe(loss)
    assert other.state_dict() == curve.state_dict()
    assert other.drops == 2


def test_a_step_schedule_without_milestones_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"needs schedule\.milestones"):
        schedule(name="step")


def test_a_warmup_that_would_not_end_takes_a_tenth_of_the_run_and_says_so() -> None:
    curve = schedule(name="cosine", warmup_steps=50)
    assert [curve.rate(step) for step in range(5)] == pytest.approx([0.4 * (0.1 + 0.9 * step / 5) for step in range(5)])
    assert [curve.rate(step) for step in range(5, 50)] == pytest.approx([0.2 * (1 + math.cos(math.pi * t / 45)) for t in range(45)])
    assert curve.remark == "schedule.warmup_steps 50 does not end within a run of 50 steps: the warm-up takes 5 of them"
    assert schedule(epochs=1, warmup_steps=400).rate(0) == 0.4  # of 5 steps none is left for it


def test_a_warmup_that_ends_is_as_the_recipe_says() -> None:
    curve = schedule(warmup_steps=49)
    assert curve.rate(48) == pytest.approx(0.4 * (0.1 + 0.9 * 48 / 49))
    assert curve.rate(49) == 0.4
    assert curve.remark == ""
