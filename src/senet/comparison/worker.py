"""A process that trains the runs it is told to, one after the other, and reports how far it is."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from senet.comparison.reports import Report, Send
from senet.data.workers import signal_at_parents_end
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder, check_new
from senet.results.run_lock import PATIENCE, HeldError
from senet.streams import prepare_streams
from senet.training.interruption import NOTICES, Interrupted, Interruption, be_led
from senet.training.launch import check_alone
from senet.training.loop import train
from senet.training.progress import Progress
from senet.userfile import UserFiles, allow_code, with_place

MORE_PATIENCE = 2.0
"""Seconds that a run which another process trains is waited for, before the next one is tried."""


@dataclass(frozen=True)
class RunOrder:
    """Run to be trained, or to be gone on with.

    Args:
        label: what progress calls it.
        recipe: its recipe.
        run: its folder.
        met: whether another process was met there, for which there is more patience then.
    """

    label: str
    recipe: Recipe
    run: RunFolder
    met: bool = False

    def train(self, progress: Progress) -> None:
        """Train it, from its checkpoint if it has one; one that is finished by now is skipped.

        Raises:
            HeldError: if another process trains it.
            UsageError: if this process is one of several that train as one, as a worker of Ray may be that a launcher has started.
        """
        check_alone()
        if not self.run.exists():
            check_new(self.run)  # before anything is written there
        with self.run.held(MORE_PATIENCE if self.met else PATIENCE):
            if self.run.is_finished():
                progress.skip(self.label)
            else:
                train(self.recipe, folder=self.run.path, or_resume=True, progress=progress, label=self.label)

    def after(self, held: HeldError, progress: Progress) -> "RunOrder":
        """Return it to be tried again when there is nothing else to train; the first time, say who trains it."""
        if not self.met:
            progress.print(f"{self.label}: another process trains it, {held.holder}")
        return replace(self, met=True)


@dataclass(frozen=True)
class Surroundings:
    """Settings that a process takes over from the one that made it.

    Args:
        threads: CPU threads that it may use.
        allowed: files and folders of code that recipes may name.
        files: the user's files that were run; unpickled, they run again.
    """

    threads: int
    allowed: tuple[Path, ...]
    files: UserFiles


def work(pipe: Connection, surroundings: Surroundings) -> None:
    """Train what comes through a pipe until nothing more comes, or a signal does.

    What goes back is ("done",), ("held", error), ("failed", line, exit code), ("stopped",), or progress. The process is the leader of its
    own group, so that Ctrl-C reaches the one that made it alone, which passes it on; it saves and ends when that one is killed (Linux).
    """
    os.setpgid(0, 0)
    for signum in NOTICES:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which also forgets one that was held back
    be_led()
    with Interruption() as interruption:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        signal_at_parents_end(signal.SIGTERM)
        prepare_streams()
        torch.set_num_threads(surroundings.threads)

        def send(*message: Any) -> None:
            with suppress(OSError):  # nobody listens any more: the run is saved all the same
                pipe.send(message)

        with allow_code(*surroundings.allowed), suppress(EOFError, Interrupted):
            for order in interruption.guard(iter(pipe.recv, None)):
                send(*outcome_of(order, send))


def outcome_of(order: RunOrder, send: Send) -> tuple[Any, ...]:
    """Train a run, and return how that ended."""
    try:
        order.train(Report(send))
    except Interrupted:
        return ("stopped",)
    except HeldError as held:
        return "held", held
    except Exception as error:  # of any kind: the process that made this one has to name the run
        foreseen = isinstance(error, UsageError) or hasattr(error, "exit_code")
        line = str(error) if foreseen else with_place(f"{type(error).__name__}: {error}", error)
        return "failed", line, getattr(error, "exit_code", 2 if isinstance(error, UsageError) else 1)
    return ("done",)
