"""Progress on a terminal, in a log, and not at all."""

import io

import pytest
from rich.console import Console

from senet.results.metric import Metric
from senet.training import progress as module
from senet.training.progress import Progress

ROW = {"epoch": 1, "step": 10, "train_loss": 0.5, "val_loss": 0.25, "val_top1": 97.5, "seconds": 2.0}


def shown(terminal: bool, runs: int = 1, enabled: bool = True, width: int = 140) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width)
    with Progress(runs, enabled=enabled, console=console) as progress:
        if runs > 1:
            progress.skip("plain, seed 1/2")
        with progress.run("se, seed 1/2", epochs=2, steps=10) as bar:
            bar.print("cannot read a.jpg")
            bar.update(5, 1, 0.75)
            bar.epoch(ROW, Metric("top1", "top-1", "%"))
    return stream.getvalue()


def test_a_log_gets_one_line_an_epoch_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0, 60.0, 90.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert shown(terminal=False).splitlines() == [
        "cannot read a.jpg",
        "se, seed 1/2  epoch 1/2  train loss 0.5000  val loss 0.2500  top-1 97.50 %  2.0 s, 1:30 left",
    ]


def test_a_terminal_gets_a_bar_with_loss_accuracy_and_time_left() -> None:
    text = shown(terminal=True, width=80)
    for part in ("se, seed 1/2", "epoch 1/2  loss 0.500  top-1 97.5 %", "left", "cannot read a.jpg"):
        assert part in text


def test_several_runs_have_a_common_bar_that_counts_those_done_before() -> None:
    text = shown(terminal=True, runs=3)
    assert "all runs" in text
    assert "1/3" in text
    assert "2/3" in text


def test_several_runs_in_a_log() -> None:
    assert shown(terminal=False, runs=3).splitlines()[0] == "plain, seed 1/2: done before"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_nothing(terminal: bool) -> None:
    assert shown(terminal, enabled=False) == ""


def test_updates_are_due_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.1, 0.3])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    with Progress(enabled=False) as progress, progress.run("x", epochs=1, steps=1) as bar:
        assert [bar.due(), bar.due()] == [False, True]
