"""Ctrl-C and SIGTERM as a request: the step in hand is finished and saved, then the run ends and can be resumed."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

Element = TypeVar("Element")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREE_EVERY = 10
"""Steps between two agreements of several processes; launchers wait 30 s before they kill."""


class Interrupted(Exception):  # noqa: N818 - a request that was met, not an error
    """Request by a signal, after which a run has stopped.

    Args:
        signum: number of the signal.
        advice: what the user can do next.
    """

    def __init__(self, signum: int, advice: str = "") -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}{'; ' if advice else ''}{advice}")
        self.signum = signum
        self.exit_code = 128 + signum


class Interruption:
    """Guard that catches SIGINT and SIGTERM inside a `with` block and holds them until the block asks.

    A second signal acts at once, as if nobody had caught it (several processes: it is ignored, since launchers repeat signals). Outside the
    main thread Python delivers no signals, and this does nothing.

    Args:
        agree: called with the own signal number (0 = none), returns the one that all processes act on; None for a single process.
    """

    def __init__(self, agree: Callable[[int], int] | None = None) -> None:
        self.signum = 0
        self._agree = agree
        self._checks = 0
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.signal(signum, self._receive) for signum in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived; several processes raise together, at every tenth check."""
        if self._agree is not None:
            self._checks += 1
            if self._checks % AGREE_EVERY:
                return
            self.signum = self._agree(self.signum)
        if self.signum:
            raise Interrupted(self.signum)

    def guard(self, items: Iterable[Element]) -> Iterator[Element]:
        """Pass items on and check after each; several processes, whose shares may differ in length, are left to finish."""
        for item in items:
            yield item
            if self._agree is None:
                self.check()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker that was forked while this was in force
            return
        self.signum = signum
        if self._agree is None:
            self._restore()
            line = f"\n{signal.Signals(signum).name}: finishing the step and saving (a second signal stops at once)\n"
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())  # print is not safe inside a handler

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
