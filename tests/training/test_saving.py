"""A checkpoint on its way to the disk is that of its step, stands in nobody's way, and is never lost without a word."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from made_runs import assert_same, assert_same_run, tiny, written_checkpoints
from senet.atomic import DiskFullError
from senet.results.run_folder import RunFolder
from senet.training import saving
from senet.training.checkpoint import read_checkpoint, write_checkpoint
from senet.training.interruption import Interrupted
from senet.training.loop import train
from senet.training.saving import CheckpointWriter

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "recipe.yaml").touch()  # it has begun
    return RunFolder(tmp_path)


class Held:
    """Writing that waits until it is let go."""

    def __init__(self) -> None:
        self.gate, self.states = threading.Event(), list[dict[str, Any]]()

    def __call__(self, run: RunFolder, state: dict[str, Any]) -> None:
        self.states.append(state)
        assert self.gate.wait(30)
        write_checkpoint(run, state)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr(saving, "write_checkpoint", held)
    yield held
    held.gate.set()


def full(*args: Any) -> None:
    raise DiskFullError("cannot write last.ckpt: no room")


def test_what_is_written_is_the_state_as_it_was(run: RunFolder, held: Held) -> None:
    base = torch.arange(12.0)
    weights = base.reshape(3, 4).t()  # part of a larger storage, and not contiguous
    state = {"model": {"w": weights}, "average": {"w": base}, "rows": [{"loss": 1.0}], "best": None}
    before = {"model": {"w": weights.clone()}, "average": {"w": base.clone()}, "rows": [{"loss": 1.0}], "best": None}
    with CheckpointWriter(CPU) as writer:
        writer.begin(run, state)
        base.zero_()  # training goes on
        state["rows"].append({"loss": 0.0})
        held.gate.set()
    written = read_checkpoint(run.checkpoint)
    del written["format"], written["senet"]
    assert_same(written, before)
    assert written["model"]["w"].stride() == weights.stride()


def test_one_is_on_its_way_and_the_next_waits_for_it(run: RunFolder, held: Held) -> None:
    weights = torch.zeros(1000)
    threads = threading.active_count()
    with CheckpointWriter(CPU) as writer:
        writer.begin(run, {"w": weights, "epoch": 1})
        writer.check()
        assert not run.checkpoint.exists()
        threading.Timer(0.2, held.gate.set).start()
        writer.begin(run, {"w": weights.fill_(1), "epoch": 2})
        assert run.checkpoint.exists(), "the first is on the disk"
    assert [read_checkpoint(path)["epoch"] for path in (run.previous, run.checkpoint)] == [1, 2]
    first, second = (state["w"] for state in held.states)
    assert first.data_ptr() == second.data_ptr() != weights.data_ptr(), "memory of the copy is taken again"
    assert threading.active_count() <= threads, "worker processes are forked from one thread"


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread wait a while before it copies what is still."""
    bring = CheckpointWriter._bring

    def waiting(*args: Any) -> None:
        threading.Event().wait(0.3)  # longer than the passes of a step
        bring(*args)

    monkeypatch.setattr(CheckpointWriter, "_bring", waiting)


@pytest.mark.usefixtures("late")
def test_what_is_still_is_copied_beside_a_step_which_waits_before_it_changes_it(run: RunFolder) -> None:
    weights, statistics = torch.ones(3, 4), torch.ones(4)
    with CheckpointWriter(CPU) as writer:
        for value in (1, 2):
            writer.begin(run, {"w": weights.fill_(value), "b": statistics.fill_(value)}, [weights])
            statistics.zero_()
            writer.settle()
            weights.zero_()
            writer.settle()
    for path, value in ((run.previous, 1), (run.checkpoint, 2)):
        written = read_checkpoint(path)
        assert (written["w"] == value).all()
        assert (written["b"] == value).all()


@pytest.mark.usefixtures("late")
def test_what_a_step_did_not_leave_alone_is_copied_at_once(run: RunFolder) -> None:
    """As an embedding of bounded norms, or weights that a user's network clips."""
    weights = torch.zeros(3)
    with CheckpointWriter(CPU) as writer:
        for value in (1, 2):
            writer.begin(run, {"w": weights.fill_(value)}, [weights])
            weights.zero_()  # before the step settles
            writer.settle()
    assert [read_checkpoint(path)["w"].unique() for path in (run.previous, run.checkpoint)] == [1, 2]


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_cpu_asks_nothing_of_other_devices(run: RunFolder, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> bool:
        raise AssertionError(kind)

    for name in ("is_available", "current_device", "_lazy_init"):
        monkeypatch.setattr(f"torch.{kind}.{name}", fail, raising=False)
    with CheckpointWriter(CPU) as writer:
        writer.begin(run, {"w": torch.ones(3)})


@pytest.mark.usefixtures("late")
def test_checkpoints_beside_steps_are_those_of_copies_at_once(tmp_path: Path) -> None:
    recipe = tiny(training__epochs=2, training__save_steps=1, training__ema_decay=0.9)
    beside = written_checkpoints(recipe, tmp_path / "beside")
    assert len(beside) == 2 * 4 + 2
    assert_same(beside, written_checkpoints(recipe, tmp_path / "at_once", at_once=True))


def finish(writer: CheckpointWriter, run: RunFolder) -> None:
    writer.finish()


def begin_another(writer: CheckpointWriter, run: RunFolder) -> None:
    writer.begin(run, {})


def check_until_it_is_known(writer: CheckpointWriter, run: RunFolder) -> None:
    for _ in range(10_000):
        writer.check()
        threading.Event().wait(0.001)


@pytest.mark.parametrize("following", [finish, begin_another, check_until_it_is_known])
def test_an_error_of_the_thread_comes_out_once_at_what_follows(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, following: Callable[[CheckpointWriter, RunFolder], None]
) -> None:
    monkeypatch.setattr(saving, "write_checkpoint", full)
    with CheckpointWriter(CPU) as writer:
        writer.begin(run, {})
        with pytest.raises(DiskFullError, match="no room"):
            following(writer, run)


def test_an_error_at_the_end_is_raised_or_said_beside_another(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(saving, "write_checkpoint", full)
    with pytest.raises(DiskFullError), CheckpointWriter(CPU) as writer:
        writer.begin(run, {})

    def fail() -> None:
        with CheckpointWriter(CPU) as writer:
            writer.begin(run, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), caplog.at_level(logging.ERROR):
        fail()
    assert caplog.messages == ["cannot write last.ckpt: no room"]


def test_a_run_waits_for_what_it_writes_when_it_is_told_to_end_and_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint takes longer than a step; SIGTERM comes while one is written."""
    recipe = tiny(training__epochs=2, training__save_steps=2, data__workers=0)
    train(recipe, folder=tmp_path / "whole", progress=False)
    signalled: list[bool] = []

    def slow(run: RunFolder, state: dict[str, Any]) -> None:
        if (state["epoch"], state["batch"]) == (1, 2) and not signalled:
            signalled.append(True)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        threading.Event().wait(0.2)
        write_checkpoint(run, state)

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(recipe, folder=run.path, progress=False)
    last, before = read_checkpoint(run.checkpoint), read_checkpoint(run.previous)
    assert (before["epoch"], before["batch"]) == (1, 2)
    assert last["batch"] >= 2
    train(resume=run.path, progress=False)
    assert_same_run(run.path, tmp_path / "whole")
