"""Several processes of one command, started by torch's elastic launcher: one for each device of each machine."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from senet.data.samplers import check_share
from senet.data.workers import own_cores
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.streams import say
from senet.training.accumulation import check_parts
from senet.training.interruption import NOTICES, SIGNALS

JOB = "senet"
"""The rendezvous of several machines is told from others at the same address by this name."""

CAUGHT = (*SIGNALS, *NOTICES)
"""Signals that the launcher hands on to its processes, which save; then it ends."""


class LaunchError(Exception):
    """Processes that did not begin together, or did not end by themselves."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Processes:
    """Processes that train as one.

    Args:
        devices: processes on each machine, each with a GPU of its own where there are GPUs.
        nodes: machines.
        endpoint: HOST:PORT at which several machines meet: an address of one of them, which all others reach.

    Raises:
        UsageError: for numbers and addresses that cannot be, or that do not go together.
    """

    devices: int = 1
    nodes: int = 1
    endpoint: str | None = None

    def __post_init__(self) -> None:
        for flag, count in (("--devices", self.devices), ("--nodes", self.nodes)):
            if count < 1:
                raise UsageError(f"{flag} must be at least 1, got {count}")
        if self.nodes > 1 and self.endpoint is None:
            raise UsageError(f"--nodes {self.nodes} needs --rdzv-endpoint HOST:PORT, an address of one of them that the others reach")
        if self.nodes == 1 and self.endpoint is not None:
            raise UsageError(f"--rdzv-endpoint {self.endpoint} is where several machines meet: say how many with --nodes")
        if self.endpoint is not None:
            host, _, port = self.endpoint.rpartition(":")
            if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
                raise UsageError(f"--rdzv-endpoint must be HOST:PORT, such as node1:29400, got {self.endpoint!r}")

    @property
    def world(self) -> int:
        """Number of all processes."""
        return self.devices * self.nodes

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError if this machine has too few GPUs, or a recipe's batch cannot be shared evenly."""
        check_devices(self.devices)
        check_share(recipe.data.batch_size, self.world)
        check_parts(recipe.training.accumulate, recipe.data.batch_size, self.world)


def check_devices(processes: int) -> None:
    """Raise UsageError if processes of this machine are more than its GPUs; without a GPU they share the CPU."""
    if torch.cuda.is_available() and processes > (count := torch.cuda.device_count()):
        raise UsageError(
            f"{processes} processes need a GPU each, and this machine has {count}; start fewer, or hide the GPUs with CUDA_VISIBLE_DEVICES="
        )


def process_count() -> int:
    """Return how many processes train as one with this one; 1 if no launcher started it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch_processes(words: Sequence[str], processes: Processes) -> int:
    """Run `senet WORDS` in several processes, and return the exit code of the first that failed, or 0.

    They speak for themselves. Signals are handed on to them; they have 30 seconds to save, or what
    TORCH_ELASTIC_SHUTDOWN_TIMEOUT says.

    Raises:
        LaunchError: if the machines do not find each other, or a process was killed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    several = processes.nodes > 1
    config = LaunchConfig(
        min_nodes=processes.nodes,
        max_nodes=processes.nodes,
        nproc_per_node=processes.devices,
        run_id=JOB if several else uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=processes.endpoint or "localhost:0",
        local_addr=None if several else "localhost",
        max_restarts=0,
        signals_to_handle=",".join(signum.name for signum in CAUGHT),
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, own_cores() // processes.devices)))  # torch's default is all cores for each
    if several:
        say(f"waiting at {processes.endpoint} until {processes.nodes} machines are there", error=True)
    try:
        with _silent():
            elastic_launch(config, sys.executable)("-m", "senet", *words)
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            raise LaunchError(_killed(rank, -failure.exitcode), 128 - failure.exitcode) from None
        return failure.exitcode
    except RendezvousError as error:
        reason = error.__cause__ or error
        raise LaunchError(f"the {processes.nodes} machines did not meet at {processes.endpoint}: {reason}") from error
    return 0


def _killed(rank: int, signum: int) -> str:
    return f"process {rank} was ended by {signal.Signals(signum).name}, and the others with it; --resume goes on from what was saved"


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the launcher's own log to itself: processes say in a line what is wrong, and it would add a page."""
    log = logging.getLogger("torch.distributed.elastic")
    before, nowhere = log.propagate, logging.NullHandler()
    log.propagate = False
    log.addHandler(nowhere)
    try:
        yield
    finally:
        log.removeHandler(nowhere)
        log.propagate = before
