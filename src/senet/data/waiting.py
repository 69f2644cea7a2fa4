"""Waiting for batches, with an end: a worker process that died or is stuck is told in one line."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from itertools import count
from multiprocessing import get_start_method
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pickle import PicklingError
from threading import current_thread, main_thread
from typing import Any

from torch.utils.data import DataLoader

from senet.data.batch import Batch
from senet.data.delivery import WorkerError
from senet.data.workers import WorkerStart
from senet.errors import UsageError, reason_of

SLICE = 2
"""Seconds after which a wait for workers looks around."""
SAID_AFTER = 30
"""Seconds of waiting for one batch after which it is said aloud."""
GIVE_UP = 1800
"""Seconds after which a wait for one batch is given up, as those of other processes for this one are."""
LAST_BREATH = 10.0
"""Seconds that a worker whose connection broke, or that was killed, has to be known as dead."""

log = logging.getLogger("senet")


class BatchLoader:
    """Batches of a `DataLoader`, again and again.

    Args:
        loader: with workers it has a `timeout` of `SLICE`, and `start` as its first call in each.
        start: see `WorkerStart`.
    """

    def __init__(self, loader: DataLoader[Batch], start: WorkerStart) -> None:
        self._loader, self._start = loader, start
        self._underway = False
        self._handler: Any = None

    @property
    def workers(self) -> int:
        """How many processes load the images; 0 = this one does."""
        return self._loader.num_workers

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches; an iteration that was given up before is ended.

        Raises:
            WorkerError: if a worker died, is stuck, or met with an error.
            UsageError, DataError: if that is what a worker met with.
        """
        if self._underway:
            self.close()
        self._start.note_thread()
        self._underway = True
        return self._batches(self._begun())

    def close(self, *, at_once: bool = False) -> None:
        """End the workers, which the next iteration would start anew.

        Args:
            at_once: whether they are ended in the middle of what they do; else they finish their batch, if they do so soon.
        """
        processes = self._processes()
        iterator, self._loader._iterator = self._loader._iterator, None
        self._underway = False
        if not processes:
            return
        if at_once:
            for process in processes:
                process.terminate()
                if process.pid is not None and process.is_alive() and hasattr(signal, "SIGCONT"):
                    os.kill(process.pid, signal.SIGCONT)  # one that is stopped obeys afterwards
        iterator._shutdown_workers()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue] - it has workers
        for process in processes:
            process.kill()  # one that is stuck in foreign code may have heard nothing
        for process in processes:
            process.join(LAST_BREATH)
        self._hear_of_deaths()

    def _begun(self) -> Iterator[Batch]:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got pickle error")  # the error itself says so
                iterator = iter(self._loader)
        except (PicklingError, AttributeError, TypeError) as error:  # pickle raises all three
            if get_start_method() == "fork" or not self.workers:
                raise
            raise UsageError(
                f"worker processes here get the images and what prepares them pickled, and that fails: {reason_of(error)}; "
                f"define what these hold at the top of a file, or load without worker processes, --data.workers 0"
            ) from error
        except (RuntimeError, OSError, EOFError) as error:  # of workers that wait for another epoch
            try:
                self._tell(error)
            finally:
                self.close(at_once=True)
            if not _is_slice(error):
                raise
            iterator = iter(self._loader)
        self._hear_of_deaths(in_waits=True)
        return iterator

    def _hear_of_deaths(self, *, in_waits: bool = False) -> None:
        """Keep torch's handler, which raises as soon as a worker dies, from doing so in the middle of a step: waits notice it too."""
        if current_thread() is not main_thread() or not hasattr(signal, "SIGCHLD"):
            return
        if in_waits and self._handler is None and self._loader.num_workers:
            self._handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        elif not in_waits and self._handler is not None:
            signal.signal(signal.SIGCHLD, self._handler)
            self._handler = None

    def _batches(self, iterator: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            try:
                batch = self._next(iterator)
            except StopIteration:
                self._underway = False
                return
            except BaseException:
                self.close(at_once=True)
                raise
            yield batch

    def _next(self, iterator: Iterator[Batch]) -> Batch:
        for slices in count(1):  # not the clock, which goes on while this process is stopped
            try:
                return next(iterator)
            except (RuntimeError, OSError, EOFError) as error:
                if not _is_slice(error):
                    self._tell(error)
                    raise
            if slices == SAID_AFTER // SLICE:
                log.warning("no batch for %d s from the worker processes (%s); still waiting", SAID_AFTER, self._pids())
            if slices * SLICE >= GIVE_UP:
                raise WorkerError(
                    f"no batch for {GIVE_UP} s from the worker processes that load images ({self._pids()}): reading is stuck; "
                    f"see that the images' disk answers, or load without worker processes, --data.workers 0"
                )
        raise AssertionError("the count has no end")

    def _tell(self, error: Exception) -> None:
        """Raise WorkerError if workers have died, which is met with as many an error: it says which and why."""
        processes = self._processes()
        if processes and not _is_slice(error):
            closed = wait([process.sentinel for process in processes], LAST_BREATH)
            for process in processes:
                if process.sentinel in closed:
                    process.join(LAST_BREATH)  # the system closes what a process holds a moment before there is an exit code to ask for
        dead = {process.pid: process.exitcode for process in processes if process.exitcode is not None}
        if not dead:
            return
        ends = ", ".join(f"pid {pid}, {_end(code)}" for pid, code in dead.items())
        raise WorkerError(
            f"a worker process that loads images has died ({ends}); the system kills for want of memory: "
            f"lower data.workers or data.batch_size, or load without worker processes, --data.workers 0"
        ) from error

    def _pids(self) -> str:
        return ", ".join(f"pid {process.pid}" for process in self._processes())

    def _processes(self) -> list[BaseProcess]:
        return getattr(self._loader._iterator, "_workers", [])


def _is_slice(error: Exception) -> bool:
    return str(error).startswith("DataLoader timed out")


def _end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
