"""torch's elastic agent, which starts one machine's processes, as this project runs it: some ends of theirs are a beginning."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import RendezvousConnectionError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler
from torch.distributed.launcher.api import LaunchConfig

from senet.streams import say
from senet.training.interruption import CAUGHT
from senet.training.launch import PEERS_GONE

ON_RESTART = "--or-resume"
"""What processes are told that start anew."""
OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Variable of torch's. Unless it is 1, processes that start anew find the addresses of those before them in the agent's store."""


class Agent(LocalElasticAgent):
    """Agent that starts all processes anew, to go on from what was saved, where one was killed or lost the others.

    What a process has said itself, a mistake or images that cannot be read, would only happen again, and a signal that asks for an end
    gets it.
    """

    @property
    def has_begun(self) -> bool:
        """Whether the machines have found each other."""
        return self._worker_group.state is not WorkerState.INIT

    # pyright takes what torch's decorator of these methods returns for something else than methods.
    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:  # pyright: ignore[reportIncompatibleVariableOverride]
        found = super()._monitor_workers(worker_group)  # pyright: ignore[reportCallIssue]
        if not found.is_failed():
            return found
        if not can_go_on([failure.exitcode for failure in found.failures.values()]):
            self._remaining_restarts = 0
        elif self._remaining_restarts:
            number, most = worker_group.spec.max_restarts - self._remaining_restarts + 1, worker_group.spec.max_restarts
            say(f"{first_end(found)}: all start anew and go on from what was saved (restart {number} of {most})", error=True)
        return found

    def _restart_workers(self, worker_group: WorkerGroup) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        spec = worker_group.spec
        if worker_group.state is WorkerState.HEALTHY:
            say("processes of another machine start anew: so do those of this one", error=True)
        spec.args = (*(word for word in spec.args if word != ON_RESTART), ON_RESTART)
        super()._restart_workers(worker_group)  # pyright: ignore[reportCallIssue]


def can_go_on(exit_codes: Sequence[int]) -> bool:
    """Return whether processes that ended so would get further if they were started anew.

    Args:
        exit_codes: of one or more, in the order of their ends, those of the others that were told to end behind; negative for a signal.
    """
    first, told = exit_codes[0], (PEERS_GONE, 128 + signal.SIGTERM)
    asked = first - 128 in CAUGHT or -first in CAUGHT
    return not asked and all(code < 0 or code in told for code in exit_codes)


def first_end(found: RunResult) -> str:
    """Return in words how the first process that failed has ended, by a signal or because it lost the others."""
    rank, failure = next(iter(found.failures.items()))
    how = f"was ended by {signal.Signals(-failure.exitcode).name}" if failure.exitcode < 0 else "lost the others"
    return f"process {rank} {how}"


def agent_of(config: LaunchConfig, words: Sequence[str]) -> Agent:
    """Return the agent that runs Python with these words, as `torch.distributed.launcher.api.launch_agent` makes its own."""
    meeting = RendezvousParameters(
        config.rdzv_backend, config.rdzv_endpoint, config.run_id, config.min_nodes, config.max_nodes, config.local_addr
    )
    os.environ[OWN_STORE] = "1"
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = config.signals_to_handle
    spec = WorkerSpec(
        role=config.role,
        local_world_size=config.nproc_per_node,
        entrypoint=sys.executable,
        args=tuple(words),
        rdzv_handler=get_rendezvous_handler(meeting),
        max_restarts=config.max_restarts,
        monitor_interval=config.monitor_interval,
        local_addr=config.local_addr,
        numa_options=config.numa_options,
    )
    assert config.logs_specs is not None, "torch fills it in"
    waits: dict[str, Any] = {}
    if hasattr(config, "shutdown_timeout"):  # not in torch 2.11
        waits = {"shutdown_timeout": config.shutdown_timeout}
    return Agent(spec, config.logs_specs, start_method=config.start_method, **waits)


def run_agent(agent: Agent) -> RunResult:
    """Run an agent to its end, and close the meeting of the machines, unless a signal ended it or its place is gone."""
    with ExitStack() as left:
        left.callback(agent.get_worker_group().spec.rdzv_handler.shutdown)
        try:
            return agent.run()  # pyright: ignore[reportReturnType] - torch's decorator hides what it returns
        except (SignalException, RendezvousConnectionError):
            left.pop_all()
            raise
