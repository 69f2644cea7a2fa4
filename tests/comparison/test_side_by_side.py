"""Runs side by side: the same files as one after the other, and a failure or a signal leaves all of them whole."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from made_runs import assert_same_run, tiny
from senet.comparison import side_by_side
from senet.comparison.side_by_side import JobError, train_side_by_side
from senet.comparison.worker import RunOrder
from senet.results.run_folder import RunFolder
from senet.training.interruption import Interrupted
from senet.training.loop import train
from senet.training.progress import Progress
from told_gpu import tell_gpu

VARIABLE = "CUDA_VISIBLE_DEVICES"

LONG = 200
"""Epochs of a run that nobody waits for."""


def order(folder: Path, label: str, **changes) -> RunOrder:
    return RunOrder(label, tiny(**changes), RunFolder(folder / label))


def when(found: Callable[[], bool], act: Callable[[], object], seconds: float = 120.0) -> threading.Thread:
    """Do something from another thread as soon as something is found."""

    def watch() -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found():
                act()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def begun(*orders: RunOrder) -> bool:
    return all(one.run.has_checkpoint() for one in orders)


def test_three_runs_by_two_processes_give_the_files_of_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    orders = [order(tmp_path, f"seed {seed}", seed=seed, training__epochs=1) for seed in range(3)]
    with Progress(3) as progress:
        train_side_by_side(orders, 2, progress)
    err = capsys.readouterr().err
    for one in orders:
        train(one.recipe, folder=tmp_path / "alone" / one.label, progress=False)
        assert_same_run(one.run.path, tmp_path / "alone" / one.label)
        assert one.run.result().metrics == RunFolder(tmp_path / "alone" / one.label).result().metrics
        assert f"{one.label}  epoch 1/1" in err


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_other_is_saved(tmp_path: Path) -> None:
    lasting, broken = order(tmp_path, "lasting", training__epochs=LONG), order(tmp_path, "broken")
    broken.run.path.mkdir()
    (broken.run.path / "notes.txt").write_text("somebody else's")
    with pytest.raises(JobError, match=r"^broken: .*is taken by something else.*; what else was training is saved") as raised:
        train_side_by_side([lasting, broken], 5, Progress(enabled=False))
    assert raised.value.exit_code == 2
    assert not lasting.run.is_finished()
    with lasting.run.held():  # its process has gone
        pass


@pytest.mark.slow
def test_a_process_that_is_killed_is_named_and_the_other_is_saved(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    killed, other = order(tmp_path, "killed", training__epochs=LONG), order(tmp_path, "other", training__epochs=LONG, seed=1)

    def kill() -> None:
        holder = (killed.run.path / ".holder.json").read_text()
        os.kill(int(holder.partition('"pid": ')[2].partition(",")[0]), signal.SIGKILL)

    when(lambda: begun(killed, other), kill)
    with pytest.raises(JobError, match=r"^killed: its process was killed by SIGKILL; what else was training is saved"):
        train_side_by_side([killed, other], 2, Progress(enabled=False))
    assert begun(other)
    assert not other.run.is_finished()
    with other.run.held():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_all_and_the_same_call_goes_on(tmp_path: Path, signum: int, capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    orders = [order(tmp_path, f"seed {seed}", seed=seed, training__epochs=20) for seed in range(2)]
    when(lambda: begun(*orders), lambda: os.kill(os.getpid(), signum))
    with pytest.raises(Interrupted, match="the same command goes on from there") as raised:
        train_side_by_side(orders, 2, Progress(enabled=False))
    assert raised.value.exit_code == 128 + signum
    assert capfd.readouterr().err.count("finishing the step and saving") == 1, "one process speaks for all"
    for one in orders:
        assert one.run.has_checkpoint()
        assert not one.run.is_finished()
    train_side_by_side(orders, 2, Progress(enabled=False))
    train(orders[0].recipe, folder=tmp_path / "alone", progress=False)
    assert_same_run(orders[0].run.path, tmp_path / "alone")


@pytest.mark.slow
def test_processes_end_with_the_one_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_messages", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    lasting = order(tmp_path, "lasting", training__epochs=LONG)
    with pytest.raises(KeyboardInterrupt):
        train_side_by_side([lasting], 1, Progress(enabled=False))
    with lasting.run.held():
        pass


@pytest.mark.parametrize("named", [None, "GPU-8a,GPU-1b"])
def test_processes_share_out_the_gpus_from_their_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if named is not None:
        monkeypatch.setenv(VARIABLE, named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(side_by_side, "work", tell_gpu)
    monkeypatch.setattr(side_by_side, "Surroundings", lambda *args: None)  # whose module imports torch
    seen = []

    class Watched(Progress):
        def print(self, line: str) -> None:
            seen.append(line)

    train_side_by_side([order(tmp_path, str(number)) for number in range(3)], 3, Watched(enabled=False))
    first, second = (named or "0,1").split(",")
    assert sorted(seen) == sorted([first, second, first])
    assert os.environ.get(VARIABLE) == named, "the process that made them times costs afterwards"
