"""Several runs at a time, each in a process of its own; they share out the GPUs of this machine."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from senet.comparison.reports import Received
from senet.comparison.worker import RunOrder, Surroundings, work
from senet.devices import gpu_of
from senet.training.interruption import Interrupted, Interruption
from senet.training.progress import Progress
from senet.userfile import UserFiles, allowed_code

GO_ON = "the same command goes on from there"
SECONDS_TO_LISTEN = 0.25
"""How long messages are waited for between two looks at signals."""
SECONDS_TO_END = 10.0
"""How long a process that has nothing more to do may take to end."""


class JobError(Exception):
    """Failure of a run in a process of its own.

    Args:
        line: which run it is, and what happened.
        exit_code: that of the failure.
    """

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class _Worker:
    """Process that trains, as the one that made it sees it.

    Args:
        surroundings: settings that it takes over.
        progress: the common display.
        variables: what its environment has beside that of this process.
    """

    def __init__(self, surroundings: Surroundings, progress: Progress, variables: Mapping[str, str]) -> None:
        context = get_context("spawn")  # CUDA does not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=work, args=(theirs, surroundings))
        self.order: RunOrder | None = None
        self._received = Received(progress)
        with _held_back(), _environment(variables):
            self.process.start()
        theirs.close()

    def give(self, order: RunOrder) -> None:
        """Tell it what to train."""
        self.order = order
        with suppress(OSError):  # it has died, which is seen when its end of the pipe is read
            self.pipe.send(order)

    def hear(self) -> tuple[Any, ...] | None:
        """Take one message; show it if it is progress, else return it."""
        try:
            name, *rest = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(SECONDS_TO_END)
            return "died", self.process.exitcode
        return None if self._received.show(name, *rest) else (name, *rest)

    def leave(self, *, trained: bool) -> None:
        """Stop showing the run in hand, which has come to its end or not."""
        self.order = None
        self._received.leave(trained=trained)

    def stop(self) -> None:
        """Ask it to save and end."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Let it go, or if it will not, kill it: a run folder survives that."""
        self.pipe.close()
        self.process.join(SECONDS_TO_END if self.order is None else 0)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def train_side_by_side(orders: Sequence[RunOrder], jobs: int, progress: Progress) -> None:
    """Train runs in up to `jobs` processes, in their order; each process has its share of the CPU threads, and sees one GPU if any.

    When one fails, the others are saved and stopped.

    Args:
        orders: what to train.
        jobs: how many at a time.
        progress: the common display.

    Raises:
        Interrupted: after a signal, when all have saved.
        JobError: for the first run that failed; it is named.
    """
    waiting, count = deque(orders), min(jobs, len(orders))
    surroundings = Surroundings(max(1, torch.get_num_threads() // max(1, count)), allowed_code(), UserFiles())
    workers: list[_Worker] = []
    with Interruption() as interruption:
        try:
            workers += (_Worker(surroundings, progress, gpu_of(number)) for number in range(count))
            for worker in workers:
                worker.give(waiting.popleft())
            try:
                for worker, message in _messages(workers, interruption.check):
                    order = worker.order
                    assert order is not None
                    worker.leave(trained=message[0] == "done")
                    if failure := failure_of(order, message):
                        raise failure
                    if message[0] == "held":
                        waiting.append(order.after(message[1], progress))
                    if waiting:
                        worker.give(waiting.popleft())
            except (Interrupted, JobError):
                _save_all(workers)
                raise
        except Interrupted as stop:
            raise Interrupted(stop.signum, GO_ON) from None
        finally:
            for worker in workers:
                worker.end()


def _messages(workers: Sequence[_Worker], check: Callable[[], object] = lambda: None) -> Iterator[tuple[_Worker, tuple[Any, ...]]]:
    """Pass on what is no progress, as long as any process trains; `check` is called between messages, since one must be read whole."""
    while busy := {worker.pipe: worker for worker in workers if worker.order is not None}:
        check()
        for pipe in wait(list(busy), SECONDS_TO_LISTEN):
            assert isinstance(pipe, Connection)
            message = busy[pipe].hear()
            if message is not None:
                yield busy[pipe], message


def _save_all(workers: Sequence[_Worker]) -> None:
    """Have all runs saved, and wait for that."""
    for worker in workers:
        worker.stop()
    for worker, _ in _messages(workers):
        worker.leave(trained=False)


def failure_of(order: RunOrder, message: tuple[Any, ...]) -> JobError | None:
    """Return the error of a run by the message that its training ended with; None if it is done, or left to another process."""
    name, *rest = message
    if name in ("done", "held"):
        return None
    exit_code = 1
    if name == "failed":
        what, exit_code = rest
    elif name == "stopped":
        what = "its process was told to stop, and saved"
    elif rest[0] is not None and rest[0] < 0:
        what = f"its process was killed by {signal.Signals(-rest[0]).name}"
    else:
        what = f"its process ended with exit code {rest[0]}"
    return JobError(f"{order.label}: {what}; what else was training is saved, and {GO_ON}", exit_code)


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while a process starts: it inherits that, and nothing reaches it before it can save."""
    resource_tracker.ensure_running()  # which would end the holding back, were it started in between
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables in the environment while a process starts: it inherits them before any code of the user's is imported there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
