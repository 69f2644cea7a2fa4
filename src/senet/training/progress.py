"""How far training is: a bar that redraws itself on a terminal, a line an epoch anywhere else. All of it goes to stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from senet.measuring.numbers import with_unit
from senet.results.metric import Metric
from senet.results.run_folder import MetricsRow
from senet.terminal import Terminal
from senet.text import printable

WORDS = 75
"""Columns of the terminal that stand beside a bar."""

REFRESH = 0.25
"""Seconds between two updates."""


class Progress:
    """Display of one run, or of several, one after the other or side by side, below a common bar.

    Args:
        runs: how many runs there will be.
        enabled: False shows nothing.
        console: where to; None = stderr.
    """

    def __init__(self, runs: int = 1, *, enabled: bool = True, console: Console | None = None) -> None:
        self.enabled = enabled
        self._console = console or Terminal(stderr=True, highlight=False)
        self._redraws = enabled and self._console.is_terminal
        self._runs = runs
        self._done = 0
        self._shares: dict[int, float] = {}
        self._all: TaskID | None = None
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=max(5, min(30, self._console.width - WORDS))),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._redraws,
        )

    def __enter__(self) -> "Progress":
        self._bars.start()
        if self._redraws and self._runs > 1:
            self._all = self._bars.add_task("all runs", total=self._runs, note="")
            self._show_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def print(self, line: str) -> None:
        """Print a line, above the bars if there are any."""
        if self.enabled:
            self._console.print(line, markup=False, soft_wrap=True)

    def skip(self, label: str) -> None:
        """Count a run that need not be trained again."""
        self._done += 1
        self._show_all()
        self.print(f"{label}: done before")

    @contextmanager
    def run(self, label: str, *, epochs: int, steps: int, done: int = 0) -> "Iterator[RunProgress]":
        """Show one run of `epochs` x `steps`, of which `done` steps lie behind it."""
        task = self._bars.add_task(printable(label), total=epochs * steps, completed=done, note="") if self._redraws else None
        bar = RunProgress(self, label, epochs, epochs * steps, done, task)
        try:
            yield bar
            self._done += 1
        finally:
            if task is not None and self._all is not None:
                self._bars.remove_task(task)
            self._shares.pop(id(bar), None)
            self._show_all()

    def show_bar(self, task: TaskID | None, step: int, note: str) -> None:
        """Move a run's bar."""
        if task is not None:
            self._bars.update(task, completed=step, note=note)

    def show_share(self, bar: "RunProgress", share: float) -> None:
        """Move the common bar by the share of a run that is done."""
        self._shares[id(bar)] = share
        self._show_all()

    def _show_all(self) -> None:
        if self._all is not None:
            self._bars.update(self._all, completed=self._done + sum(self._shares.values()), note=f"{self._done}/{self._runs}")


class RunProgress:
    """Display of one run, made by `Progress.run`."""

    def __init__(self, progress: Progress, label: str, epochs: int, total: int, done: int, task: TaskID | None) -> None:
        self._progress = progress
        self._label = label
        self._epochs = epochs
        self._total = total
        self._first = done
        self._task = task
        self._reached = ""
        self._began = self._updated = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time for an update; cheap enough to ask at every step."""
        return time.monotonic() - self._updated > REFRESH

    def update(self, step: int, epoch: int, loss: float | None) -> None:
        """Show where the run is: steps done, the epoch under way (from 1) and its mean loss so far, if it is known yet."""
        self._updated = time.monotonic()
        known = "" if loss is None else f"  loss {loss:.3f}"
        self._progress.show_bar(self._task, step, f"epoch {epoch}/{self._epochs}{known}{self._reached}")
        self._progress.show_share(self, step / self._total)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.print(line)

    def epoch(self, row: MetricsRow, primary: Metric) -> None:
        """Show a finished epoch: its row of metrics.csv, and of the metrics the primary one."""
        value, unit, decimals = row[primary.column], primary.unit, primary.decimals
        self._reached = f"  {primary.title} {with_unit(value, unit, max(decimals - 1, 0))}"
        self.update(int(row["step"]), int(row["epoch"]), row["train_loss"])
        if self._task is None:
            losses = f"train loss {row['train_loss']:.4f}  val loss {row['val_loss']:.4f}"
            figures = f"{losses}  {primary.title} {with_unit(value, unit, decimals)}"
            spent = f"{row['seconds']:.1f} s{self._left(int(row['step']))}"
            self._progress.print(f"{self._label}  epoch {int(row['epoch'])}/{self._epochs}  {figures}  {spent}")

    def _left(self, step: int) -> str:
        taken = step - self._first
        if taken == 0:  # resumed at the end of an epoch: nothing yet to judge the speed by
            return ""
        return f", {_format_duration((time.monotonic() - self._began) * (self._total - step) / taken)} left"


def _format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
