"""What a loader's worker process does first: which signals it obeys, and that it ends with its parent."""

import ctypes
import os
import signal
import sys
from multiprocessing import parent_process
from threading import Thread, current_thread, main_thread

LEFT_TO_PARENT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name))
"""Signals that are meant for the whole job, beside SIGTERM: Ctrl-C, a closed terminal, the notices of clusters."""

PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal that a process gets when the thread that made it ends."""

WATCH = 2.0
"""Seconds between two looks at the parent, where the system does not tell of its end."""


class WorkerStart:
    """First call in a worker process.

    The training process finishes its step on a signal meant for the whole job and needs its workers for that: they ignore such signals,
    obey SIGTERM of their parent alone, and end with it, whatever they are doing.
    """

    def __init__(self) -> None:
        self._tied = True

    def note_thread(self) -> None:
        """Remember whether the main thread makes the workers: to another, which may end before its process, they must not be tied."""
        self._tied = current_thread() is main_thread()

    def __call__(self, worker: int) -> None:
        """Prepare this process, the loader's worker of that number."""
        for signum in LEFT_TO_PARENT:
            signal.signal(signum, signal.SIG_IGN)
        if hasattr(signal, "sigtimedwait"):  # not on macOS
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            Thread(target=_end_with_parent, daemon=True).start()
        if self._tied:
            signal_at_parents_end(signal.SIGKILL)
        if not _parent_lives(os.getppid()):  # it ended before the system was asked to tell
            os._exit(1)


def own_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reading_threads() -> int:
    """Return how many threads read or write files at a time where nobody says it: one for each processor, at most 8."""
    return min(8, own_cores())


def signal_at_parents_end(signum: int) -> None:
    """Ask the system to send this process a signal when its parent ends; on Linux alone, elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)


def _end_with_parent() -> None:
    parent, born_to = parent_process(), os.getppid()
    while _parent_lives(born_to):
        received = signal.sigtimedwait({signal.SIGTERM}, WATCH)
        if received is not None and parent is not None and received.si_pid == parent.pid:
            break
    os._exit(0)


def _parent_lives(born_to: int) -> bool:
    parent = parent_process()
    return os.getppid() == born_to and (parent is None or parent.is_alive())
