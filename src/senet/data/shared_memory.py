"""Shared memory, through which worker processes hand over their batches: how much there is, and for how many workers it does."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from senet.errors import UsageError

FOLDER = Path("/dev/shm")
"""Where Linux keeps shared memory; containers often have 64 MB of it."""
AHEAD = 2
"""Batches that each worker prepares ahead, as torch has it."""
NO_SPACE = "file </torch_"
"""What torch's errors say if it gets none: how its files there are called."""
REMEDY = "load without worker processes (--data.workers 0), lower data.batch_size, or give a container more (docker run --shm-size 8g)"

log = logging.getLogger("senet")


@dataclass(frozen=True)
class SharedMemory:
    """Shared memory of this machine, in bytes."""

    total: int
    free: int


def shared_memory() -> SharedMemory | None:
    """Return how much there is; None where nothing tells."""
    if not FOLDER.is_dir():
        return None
    facts = os.statvfs(FOLDER)
    return SharedMemory(facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize)


def fitting_workers(workers: int, batch: int, *, asked_for: bool, processes: int = 1) -> int:
    """Return the number of workers whose batches fit into shared memory: those prepared ahead, and one in use.

    Args:
        workers: how many there should be.
        batch: bytes of a batch.
        asked_for: whether the user says so; else they become fewer, which is said aloud.
        processes: how many training processes share the memory.

    Raises:
        UsageError: if it is too small for the workers asked for.
    """
    memory = shared_memory()
    if memory is None or not workers:
        return workers
    most = max(0, (memory.free // max(1, batch * processes) - 1) // AHEAD)
    if workers <= most:
        return workers
    needed = (AHEAD * workers + 1) * batch * processes
    lack = f"{workers} loader processes need {_megabytes(needed)} of shared memory, and {FOLDER} has {_megabytes(memory.free)} free"
    if asked_for:
        fewer = f"at most {most} fit: set data.workers {most}" if most else REMEDY
        raise UsageError(f"data.workers {workers}: {lack}; {fewer}")
    log.warning("%s: loading with %s; more shared memory makes it faster (docker run --shm-size 8g)", lack, most or "none")
    return most


def no_space() -> str:
    """Say that a batch did not fit, and what to do."""
    memory = shared_memory()
    free = f": {FOLDER} has {_megabytes(memory.total)}, {_megabytes(memory.free)} of them free" if memory else ""
    return f"a worker process cannot hand over its batch for want of shared memory{free}; {REMEDY}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
