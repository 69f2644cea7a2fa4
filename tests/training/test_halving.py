"""A step for which memory runs out is taken again in more parts, as if it had been taken in so many from the start."""

import itertools
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch

from faults.forked import code_of
from faults.ranks import fork_ranks, told
from made_runs import assert_same, assert_same_run, tiny, train_until
from senet.errors import UsageError
from senet.recipe import TrainingRecipe
from senet.results.run_folder import RunFolder
from senet.tasks.answers import losses_of
from senet.training.accumulation import check_halving
from senet.training.checkpoint import read_checkpoint
from senet.training.loop import train
from senet.training.memory import MemoryExhaustedError

PEBIBYTE = 2**50
OPTIONS = {"training__out_of_memory": "halve", "training__ema_decay": 0.9, "training__epochs": 2, "data__workers": 0}


def exhaust_at(patch: pytest.MonkeyPatch, calls: Collection[int]) -> None:
    """Let memory run out in some of the forward passes, counted from 1, after BatchNorm has seen the images and numbers were drawn."""
    count = itertools.count(1)

    def losses(*args: Any) -> dict[str, torch.Tensor]:
        noise = 1 + 0.01 * torch.rand(())
        if next(count) in calls:
            torch.empty(PEBIBYTE, dtype=torch.uint8)
        return {name: loss * noise for name, loss in losses_of(*args).items()}

    patch.setattr("senet.training.step.losses_of", losses)


@pytest.fixture
def halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """Return a run whose first step found no room as a whole, nor for the second of its halves."""
    with monkeypatch.context() as patch:
        exhaust_at(patch, {1, 3})
        train(tiny(**OPTIONS), folder=tmp_path / "halved", progress=False)
    assert [f"memory ran out at step 1: steps are taken in {parts} parts from there on" for parts in (2, 4)] == caplog.messages
    return tmp_path / "halved"


def test_what_failed_leaves_no_trace_and_the_run_says_what_became_of_it(
    halved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhaust_at(monkeypatch, ())
    train(tiny(**OPTIONS, training__accumulate=4), folder=tmp_path / "quarters", progress=False)
    one, other = (read_checkpoint(folder / "last.ckpt") for folder in (halved, tmp_path / "quarters"))
    for name in ("model", "average", "optimizer", "rows", "parts"):
        assert_same(one[name], other[name], name)
    assert RunFolder(halved).result().changes == tuple(
        f"epoch 1: memory ran out at step 1: steps are taken in {parts} parts from there on" for parts in (2, 4)
    )


def test_a_run_goes_on_in_the_parts_that_it_has_come_to(halved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        exhaust_at(patch, {1, 3})
        train_until(5, tiny(**OPTIONS), tmp_path / "run")
    exhaust_at(monkeypatch, ())
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", halved)


def test_a_single_image_that_finds_no_room_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exhaust_at(monkeypatch, range(1, 100))
    with pytest.raises(MemoryExhaustedError, match=r"ran out when \d+ bytes more were asked for: lower data\.batch_size"):
        train(tiny(**OPTIONS), folder=tmp_path / "run", progress=False)


def test_processes_agree(tmp_path: Path) -> None:
    """One of two has too little memory; the gradients are those that DDP exchanges beside the backward pass."""
    runs = {"one": (1, "halve", {1}), "none": (2, "halve", ()), "DDP": (2, "stop", ())}

    def work(rank: int) -> None:
        for name, (parts, wish, calls) in runs.items():
            with pytest.MonkeyPatch.context() as patch:
                exhaust_at(patch, calls if rank else ())
                changes = OPTIONS | {"training__accumulate": parts, "training__out_of_memory": wish, "training__epochs": 1}
                train(tiny(**changes), folder=tmp_path / name, progress=False)

    codes = [code_of(process) for process in fork_ranks(work, tmp_path)]
    assert codes == [0, 0], told(tmp_path)
    one, *others = (read_checkpoint(tmp_path / name / "last.ckpt") for name in runs)
    for other in others:
        for part in ("model", "average", "optimizer", "parts"):
            assert_same(one[part], other[part], part)
    assert one["changes"] == ["epoch 1: memory ran out at step 1: steps are taken in 2 parts from there on"]


@pytest.mark.parametrize("options", [{"sync_bn": True}, {"nonfinite": "skip"}])
def test_what_waits_within_a_step_is_refused(options: dict[str, Any]) -> None:
    plan = TrainingRecipe(out_of_memory="halve", **options)
    check_halving(plan, 1)
    with pytest.raises(UsageError, match=r"training\.out_of_memory halve does not go with training\."):
        check_halving(plan, 2)
