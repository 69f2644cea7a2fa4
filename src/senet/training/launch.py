"""Several processes of one command, started by torch's elastic launcher: one for each device of each machine."""

import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from senet.data.samplers import check_share
from senet.data.workers import own_cores
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.streams import say
from senet.training.accumulation import check_parts
from senet.training.interruption import CAUGHT

JOB = "senet"
"""The rendezvous of several machines is told from others at the same address by this name."""

RESTARTS = 3
"""How often processes that were killed, or lost each other, are started anew, unless the user says so."""

PEERS_GONE = 75
"""Exit code where other processes are gone: EX_TEMPFAIL of sysexits.h, try again."""

LATER = "--resume goes on from what was saved"


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
        restarts: how often all are started anew to go on from what was saved, when one was killed.

    Raises:
        UsageError: for numbers and addresses that cannot be, or that do not go together.
    """

    devices: int = 1
    nodes: int = 1
    endpoint: str | None = None
    restarts: int = RESTARTS

    def __post_init__(self) -> None:
        for flag, count in (("--devices", self.devices), ("--nodes", self.nodes)):
            if count < 1:
                raise UsageError(f"{flag} must be at least 1, got {count}")
        if self.restarts < 0:
            raise UsageError(f"--max-restarts must be at least 0, got {self.restarts}")
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


def check_alone() -> None:
    """Raise UsageError if a launcher has started this process to train one run with others, which a comparison's runs are not for."""
    if (count := process_count()) > 1:
        raise UsageError(
            f"the runs of a comparison train apart, each in one process, and a launcher such as torchrun has started {count} (WORLD_SIZE): "
            "start the command without it, or unset WORLD_SIZE; --jobs trains several runs at a time"
        )


def resume_command(run: RunFolder) -> str:
    """Return the command that goes on with a run in as many processes as train it."""
    world = process_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    several = f" --devices {here}" if world > 1 else ""
    machines = f" --nodes {world // here} --rdzv-endpoint HOST:PORT" if world > here else ""
    return f"senet train --resume {run.path}{several}{machines}"


def launch_processes(words: Sequence[str], processes: Processes) -> int:
    """Run `senet WORDS` in several processes, and return the exit code of the first that failed, or 0.

    They speak for themselves. Signals are handed on to them; they have 30 seconds to save, or what
    TORCH_ELASTIC_SHUTDOWN_TIMEOUT says. Those that were killed, or lost the others, are started anew.

    Raises:
        LaunchError: if the machines do not find each other, or processes are killed more often than they are started anew.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig

    from senet.training.agent import agent_of, first_end, run_agent

    several = processes.nodes > 1
    config = LaunchConfig(
        min_nodes=processes.nodes,
        max_nodes=processes.nodes,
        nproc_per_node=processes.devices,
        run_id=JOB if several else uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=processes.endpoint or "localhost:0",
        local_addr=None if several else "localhost",
        max_restarts=processes.restarts,
        signals_to_handle=",".join(signum.name for signum in CAUGHT),
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, own_cores() // processes.devices)))  # torch's default is all cores for each
    if several:
        say(f"waiting at {processes.endpoint} until {processes.nodes} machines are there", error=True)
    with _silent():
        agent = agent_of(config, ("-m", "senet", *words))
        try:
            ended = run_agent(agent)
        except SignalException as stopped:
            return 128 + stopped.sigval
        except RendezvousError as error:
            reason = error.__cause__ or error
            if agent.has_begun:
                raise LaunchError(f"the other machines are gone: {reason}; {LATER}", PEERS_GONE) from error
            raise LaunchError(f"the {processes.nodes} machines did not meet at {processes.endpoint}: {reason}") from error
    codes = [failure.exitcode for failure in ended.failures.values()]
    if codes and codes[0] < 0:
        raise LaunchError(f"{first_end(ended)}, and the others with it; {LATER}", 128 - codes[0])
    return codes[0] if codes else 0


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
