"""Progress of a run that one process trains and another shows."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from senet.results.metric import Metric
from senet.results.run_folder import MetricsRow
from senet.training.progress import Progress, RunProgress

Send = Callable[..., None]


class Report(Progress):
    """Progress that is shown by another process.

    Args:
        send: called with the name of a method of `Progress` or `RunProgress`, and its arguments.
    """

    def __init__(self, send: Send) -> None:
        super().__init__(enabled=False)
        self._send = send

    def print(self, line: str) -> None:
        """Have a line printed."""
        self._send("print", line)

    def skip(self, label: str) -> None:
        """Have a run counted that need not be trained again."""
        self._send("skip", label)

    @contextmanager
    def run(self, label: str, *, epochs: int, steps: int, done: int = 0) -> "Iterator[RunProgress]":
        """Have a run shown."""
        self._send("run", {"label": label, "epochs": epochs, "steps": steps, "done": done})
        yield RunReport(self, label, epochs, epochs * steps, done, None, self._send)


class RunReport(RunProgress):
    """Progress of one run that is shown by another process, made by `Report.run`."""

    def __init__(self, progress: Report, label: str, epochs: int, total: int, done: int, task: None, send: Send) -> None:
        super().__init__(progress, label, epochs, total, done, task)
        self._send = send

    def update(self, step: int, epoch: int, loss: float | None) -> None:
        """Have shown where the run is."""
        super().update(step, epoch, loss)  # which notes the time, so that not every step is reported
        self._send("update", step, epoch, loss)

    def epoch(self, row: MetricsRow, primary: Metric) -> None:
        """Have a finished epoch shown."""
        self._send("epoch", dict(row), primary)


class Received:
    """Display of the runs that another process trains, one after the other.

    Args:
        progress: the common display.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._bars = progress, ExitStack()
        self._bar: RunProgress | None = None

    def show(self, name: str, *rest: Any) -> bool:
        """Show a message of a `Report`; return whether it is one."""
        if name in ("print", "skip"):
            getattr(self._progress, name)(*rest)
        elif name == "run":
            if self._bar is not None:
                self._progress.print(f"{rest[0]['label']}: its process has died; another goes on from step {rest[0]['done']}")
                self.leave(trained=False)
            self._bar = self._bars.enter_context(self._progress.run(**rest[0]))
        elif name in ("update", "epoch"):
            if self._bar is not None:
                getattr(self._bar, name)(*rest)
        else:
            return False
        return True

    def leave(self, *, trained: bool) -> None:
        """Stop showing the run in hand, which has come to its end or not."""
        self._bar = None
        bars, self._bars = self._bars, ExitStack()
        if trained:
            bars.close()
        else:
            with suppress(_Unfinished), bars:
                raise _Unfinished


class _Unfinished(Exception):  # noqa: N818 - not an error: how a display learns that its run has not come to its end
    pass
