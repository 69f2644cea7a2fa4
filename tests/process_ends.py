"""Whether processes have ended. A signal that was sent is not an end yet: the process may still have to be scheduled to take it."""

import contextlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""How long an end is waited for: a busy machine may let a process wait for many seconds before it runs again."""


def until(true: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait for what a function returns to be true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"it has not happened in {seconds:g} s"
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    """Return the processes that a process has made."""
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return []


def state_of(pid: int) -> str:
    """Return the letter of proc(5) for what a process does; "X" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def lives(pid: int) -> bool:
    """Return whether a process runs, or could: one whose parent has not asked for its end (a zombie) does not."""
    return state_of(pid) not in "ZX"


def assert_all_end(pids: Collection[int], seconds: float = SECONDS) -> None:
    """Wait for the end of processes, of which there is one or more."""
    assert pids
    until(lambda: not any(map(lives, pids)), seconds)
