"""What happens to a run: each fault hurts a command that trains, and is undone after its end."""

import contextlib
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks.soak.command import Training

ROOM = 2**16
"""Bytes that a file may have where the disk is full: a checkpoint has more."""

Undo = Callable[[], object]


def nothing() -> None:
    """Undo nothing."""


def kill_command(training: Training, root: Path, chance: random.Random) -> Undo:
    """Kill the command, of several processes the launcher."""
    training.process.kill()
    return nothing


def kill_rank(training: Training, root: Path, chance: random.Random) -> Undo:
    """Kill one of the processes that train."""
    return _kill(chance.choice(training.trainers() or [training.process.pid]))


def kill_loader(training: Training, root: Path, chance: random.Random) -> Undo:
    """Kill a process that loads images."""
    return _kill(chance.choice(training.loaders() or [training.process.pid]))


def ask_to_end(training: Training, root: Path, chance: random.Random) -> Undo:
    """Send SIGTERM to the command, as clusters do."""
    training.process.terminate()
    return nothing


def fill_disk(training: Training, root: Path, chance: random.Random) -> Undo:
    """Let none of its processes write a file of the size of a checkpoint any more."""
    for pid in (training.process.pid, *training.look()):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM, resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]))
    return nothing


def tear_checkpoint(training: Training, root: Path, chance: random.Random) -> Undo:
    """Kill the command, and cut its newest checkpoint in two."""
    training.process.kill()

    def torn() -> None:
        path = training.run.checkpoint
        if path.is_file() and training.run.previous.is_file() and not training.run.is_finished():
            os.truncate(path, path.stat().st_size // 2)

    return torn


def hide_image(training: Training, root: Path, chance: random.Random) -> Undo:
    """Let an image vanish, which is there again when the run goes on."""
    path = chance.choice(sorted((root / "train").rglob("*.png")))
    hidden = path.rename(root / f"hidden-{training.run.path.name}")
    return lambda: hidden.rename(path)


FAULTS = {
    "command killed": kill_command,
    "rank killed": kill_rank,
    "loader killed": kill_loader,
    "SIGTERM": ask_to_end,
    "disk full": fill_disk,
    "checkpoint torn": tear_checkpoint,
    "image gone": hide_image,
}
"""Name of a fault -> what causes it and returns what undoes it."""


def _kill(pid: int) -> Undo:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return nothing
