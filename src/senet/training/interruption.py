"""Signals as a request: the step in hand is finished and saved, then the run ends and can be resumed."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, TypeVar

Element = TypeVar("Element")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICES = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name))
"""What a closed terminal and a cluster send before the end; nohup and a program's own handlers of these are left in force."""
CAUGHT = (*SIGNALS, *NOTICES)
"""All that ask for an end."""
AGREE_EVERY = 10
"""Steps between two agreements of several processes; launchers wait 30 s before they kill."""
ALONE_AFTER = 10.0
"""Seconds after which one of several processes, told to end, stops waiting for a batch, though the others wait for its step."""


_led = False
"""Whether another process of this package speaks to the user for this one."""


def be_led() -> None:
    """Let the process that made this one speak to the user and repeat signals: here a second one changes nothing, and nothing is said."""
    global _led
    _led = True


class Interrupted(Exception):  # noqa: N818 - a request that was met, not an error
    """Request by a signal, after which a run has stopped.

    Args:
        signum: number of the signal.
        advice: what the user can do next.
        alone: whether one of several processes stopped without the others, so that they can save nothing together.

    `together` says that all of several processes raise it, of which one has to speak.
    """

    def __init__(self, signum: int, advice: str = "", *, alone: bool = False) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}{'; ' if advice else ''}{advice}")
        self.signum = signum
        self.exit_code = 128 + signum
        self.alone = alone
        self.together = not alone


class _WaitBroken(BaseException):
    """End of a wait, raised by the handler; no handler of errors in the code that waits may take it for one."""


class Interruption:
    """Guard that catches signals inside a `with` block and holds them until the block asks, or waits for a batch.

    A second SIGINT or SIGTERM acts at once, as if nobody had caught it (several processes, or one that `be_led`: it is ignored, since
    launchers repeat signals).
    Outside the main thread Python delivers no signals, and this does nothing.

    Args:
        agree: called with the own signal number (0 = none), returns the one that all processes act on; None for a single process.
    """

    def __init__(self, agree: Callable[[int], int] | None = None) -> None:
        self.signum = 0
        self._agree = agree
        self._checks = 0
        self._waits = False
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            caught = [*SIGNALS, *(signum for signum in NOTICES if signal.getsignal(signum) == signal.SIG_DFL)]
            self._previous = {signum: signal.signal(signum, self._receive) for signum in caught}
            if self._agree is not None:
                self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._overdue)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore(tuple(self._previous))

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
        """Pass items on, check after each, and break off the wait for one when a signal arrives.

        Several processes, whose shares may differ in length, are left to finish; one that waits for `ALONE_AFTER` stops alone.
        """
        iterator = iter(items)
        while True:
            try:
                with self._waiting():
                    item = next(iterator)
            except StopIteration:
                return
            except _WaitBroken:
                raise Interrupted(self.signum, alone=self._agree is not None) from None
            yield item
            if self._agree is None:
                self.check()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._waits = True
        try:
            if self.signum:
                self._break_off()
            yield
        finally:
            self._waits = False
            if self.signum and self._agree is not None and self._previous:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _break_off(self) -> None:
        if self._agree is None:
            raise _WaitBroken
        if self._previous:
            signal.setitimer(signal.ITIMER_REAL, ALONE_AFTER)

    def _overdue(self, signum: int, frame: FrameType | None) -> None:
        if self._waits:
            raise _WaitBroken

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker that was forked while this was in force
            return
        first, self.signum = not self.signum, self.signum or signum
        if self._agree is None and not _led:
            if signum in SIGNALS:
                self._restore(SIGNALS)
            if first:
                line = f"\n{signal.Signals(signum).name}: finishing the step and saving (a second SIGINT or SIGTERM stops at once)\n"
                with suppress(OSError):  # the terminal may be what has gone; print is not safe inside a handler
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())
        if first and self._waits:
            self._break_off()

    def _restore(self, signums: tuple[int, ...]) -> None:
        for signum in signums:
            if signum in self._previous:
                signal.signal(signum, self._previous.pop(signum))
