"""Two processes that train as one, forked so that they begin at once: what a launcher tells its processes, without a launcher."""

import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from faults.forked import fork


def fork_ranks(work: Callable[[int], object], root: Path, count: int = 2, port: int | None = None) -> list[BaseProcess]:
    """Begin a function of the rank in each of some processes; what they write to stderr goes to `told0`, `told1` in a folder."""
    port = port or free_port()

    def begin(rank: int) -> Callable[[], object]:
        def run() -> object:
            place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
            os.environ.update({name: str(value) for name, value in (place | there).items()})
            return work(rank)

        return run

    return [fork(begin(rank), root / f"told{rank}") for rank in range(count)]


def told(root: Path, count: int = 2) -> str:
    """Return what the processes have written."""
    return "".join((root / f"told{rank}").read_text() for rank in range(count))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
