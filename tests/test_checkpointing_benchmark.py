"""The benchmark of checkpoints takes every way in every round, and counts what a block takes longer."""

import pytest
import torch
from benchmarks.checkpointing import WAYS, Subject, cost, measured, table


def test_saves_are_timed_against_steps_without() -> None:
    found = measured(Subject("se_cifar_resnet20", (2, 3, 8, 8), 2, 100), rounds=2, device=torch.device("cpu"))
    assert {way: len(times) for way, times in found["times"].items()} == dict.fromkeys(WAYS, 2)
    assert found["saves"].keys() == set(WAYS) - {"none"}
    assert found["megabytes"] > 2 * 4 * 0.27, "weights and momentum"
    assert found["interval_ms"] == pytest.approx(50 * found["step_ms"])
    assert table({"networks": {"it": found}}).row_count == 2


def test_a_save_costs_what_is_waited_for_it_and_what_its_steps_take_longer() -> None:
    without = [{"waits": 0.0, "all": seconds} for seconds in (1.0, 2.0, 1.5)]
    found = [{"waits": 0.1, "all": one["all"] + 0.3} for one in without]
    costs = cost(found, without, step_ms=500.0, interval_ms=30_000.0)
    assert costs == pytest.approx({"waits_ms": 100, "waits_of_a_step": 0.2, "extra_ms": 300, "extra_of_the_interval": 0.01})
