"""Runs as tasks of a Ray cluster, which places them on its machines and starts those of a worker that died on another."""

import io
import logging
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from senet.comparison.reports import Received, Send
from senet.comparison.side_by_side import GO_ON, SECONDS_TO_LISTEN, JobError, failure_of
from senet.comparison.worker import RunOrder, Surroundings, outcome_of
from senet.data.workers import own_cores
from senet.errors import UsageError, first_line_of, reason_of
from senet.training.interruption import Interrupted, Interruption, be_led
from senet.training.progress import Progress
from senet.userfile import UserFiles, allow_code, allowed_code

RETRIES = 3
"""How often a run is gone on with whose worker has died."""

SECONDS_TO_SAVE = 60.0
"""How long runs may take to save when the comparison is interrupted."""

SECONDS_TO_ANSWER = 5.0
"""How long the head of a cluster may take to answer."""

LOCAL_STORE = 100 * 2**20
"""Bytes of shared memory for a cluster of this machine alone: tasks exchange a few words."""


@dataclass(frozen=True)
class Share:
    """Part of a cluster that one run gets.

    Args:
        jobs: how many runs train at a time.
        cpus: CPUs, and threads, of one.
        gpus: GPUs of one, a fraction if several share one.
    """

    jobs: int
    cpus: int
    gpus: float

    @classmethod
    def of(cls, machines: Sequence[Mapping[str, float]], jobs: int | None) -> "Share":
        """Share out machines, told by their resources "CPU" and "GPU": a GPU for each run, or a machine where there are none.

        Args:
            machines: the resources of each.
            jobs: how many runs train at a time; None = as many as there are GPUs, or machines.

        Raises:
            UsageError: if none has a CPU.
        """
        able = [machine for machine in machines if machine.get("CPU", 0) >= 1]  # a head is often told to train nothing
        with_gpus = [machine for machine in able if machine.get("GPU", 0) >= 1]
        places = [(machine["CPU"], int(machine.get("GPU", 0)) or 1) for machine in with_gpus or able]
        if not places:
            raise UsageError("no machine of the Ray cluster has a CPU for a run: `ray status` says what they have")
        count = sum(here for _, here in places)
        together = math.ceil((jobs or count) / count)
        cpus = max(1, min(int(cpus // (here * together)) for cpus, here in places))
        return cls(jobs or count, cpus, 1 / together if with_gpus else 0)


def check_ray(address: str | None) -> None:
    """Raise UsageError unless Ray is installed, and something answers at the address, for which Ray itself would wait for minutes."""
    if find_spec("ray") is None:
        raise UsageError("--cluster ray needs Ray: pip install 'senet[cluster]', or train on this machine with --jobs")
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r}: {first_line_of(error)}; --address is HOST:PORT, as `ray start --head` says, or auto"
        ) from error


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Be part of a Ray cluster while the block runs, in silence; of the one that this process has joined already, if it has.

    Args:
        address: HOST:PORT of its head, or "auto" on one of its machines; None = a cluster of this machine alone, which ends with the block.

    Raises:
        UsageError: if there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    alone = {"num_cpus": own_cores(), "include_dashboard": False, "object_store_memory": LOCAL_STORE}
    before = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(io.StringIO()):  # to which Ray prints what its machines tell of dead workers
        try:
            ray.init(address or "local", configure_logging=False, log_to_driver=False, **({} if address else alone))
            yield
        except (ConnectionError, ValueError, RuntimeError) as error:  # the last where versions of Ray or Python differ
            if ray.is_initialized():
                raise
            raise UsageError(f"no Ray cluster at {address!r}: {reason_of(error, 500)}; `ray start --head` prints its address") from error
        finally:
            ray.shutdown()
            with suppress(ValueError):  # outside the main thread, where Ray has not changed it
                signal.signal(signal.SIGTERM, before)


def train_on_ray(orders: Sequence[RunOrder], jobs: int | None, progress: Progress) -> None:
    """Train runs on the Ray cluster that this process is part of, in their order; all its machines see this folder at the same place.

    A run whose worker dies goes on from its checkpoint on another one. When one fails, the others are saved and stopped.

    Args:
        orders: what to train.
        jobs: how many at a time, see `Share.of`.
        progress: the common display.

    Raises:
        UsageError: if the cluster has no room.
        Interrupted: after a signal, when all have saved.
        JobError: for the first run that failed; it is named.
    """
    waiting, tasks = deque(orders), _Tasks(jobs, progress)
    with Interruption() as interruption:
        try:
            while waiting or tasks.running:
                while waiting and len(tasks.running) < tasks.share.jobs:
                    tasks.begin(waiting.popleft())
                for order, message in tasks.ended():
                    if message[0] in ("held", "stopped"):  # by another comparison; because its machine is to be taken
                        waiting.append(order.after(message[1], progress) if message[0] == "held" else order)
                    elif failure := failure_of(order, message):
                        raise failure
                interruption.check()
        except Interrupted as stop:
            tasks.cancel()
            raise Interrupted(stop.signum, GO_ON) from None
        except JobError:
            tasks.cancel()
            raise


class _Tasks:
    """Tasks of the cluster that train.

    Args:
        jobs: how many at a time, see `Share.of`.
        progress: the common display.
    """

    def __init__(self, jobs: int | None, progress: Progress) -> None:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.share = Share.of([node["Resources"] for node in ray.nodes() if node["Alive"]], jobs)
        self.running: dict[Any, RunOrder] = {}
        self._ray, self._progress = ray, progress
        self._received: dict[str, Received] = {}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._task = ray.remote(num_cpus=self.share.cpus, num_gpus=self.share.gpus, max_retries=RETRIES)(_train)
        self._surroundings = Surroundings(self.share.cpus, allowed_code(), UserFiles())

    def begin(self, order: RunOrder) -> None:
        """Have a run trained as soon as there is room."""
        self._received[order.label] = Received(self._progress)
        self.running[self._task.remote(order, self._surroundings, str(Path.cwd()), self._queue.actor)] = order

    def ended(self) -> Iterator[tuple[RunOrder, tuple[Any, ...]]]:
        """Wait for a moment; show what the runs report, and return those that have ended, with the message that they ended with."""
        ready, _ = self._ray.wait(list(self.running), num_returns=len(self.running), timeout=SECONDS_TO_LISTEN)
        for label, message in self._queue.get_nowait_batch(self._queue.qsize()):
            if label in self._received:
                self._received[label].show(*message)
        for task in ready:
            order, message = self.running.pop(task), self._message(task)
            self._received.pop(order.label).leave(trained=message[0] == "done")
            yield order, message

    def cancel(self) -> None:
        """Have all runs saved, and wait for that."""
        for task in self.running:
            self._ray.cancel(task)
        self._ray.wait(list(self.running), num_returns=len(self.running), timeout=SECONDS_TO_SAVE)
        for received in self._received.values():
            received.leave(trained=False)

    def _message(self, task: Any) -> tuple[Any, ...]:
        """Return what a task that has ended returned, or the message of its failure."""
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError, WorkerCrashedError

        try:
            return self._ray.get(task)
        except TaskCancelledError:
            return ("stopped",)
        except WorkerCrashedError:
            return "failed", f"its worker has died {RETRIES + 1} times", 1
        except RayTaskError as error:
            return "failed", f"{type(error.cause).__name__}: {first_line_of(error.cause)}", 1
        except RayError as error:
            return "failed", first_line_of(error), 1


class _Warnings(logging.Handler):
    """Handler of what the package logs of a run, to be shown where the comparison was started."""

    def __init__(self, label: str, send: Send) -> None:
        super().__init__(logging.WARNING)
        self._label, self._send = label, send

    def emit(self, record: logging.LogRecord) -> None:
        """Have it printed."""
        self._send("print", f"{self._label}: {record.getMessage()}")


def _train(order: RunOrder, surroundings: Surroundings, folder: str, queue: Any) -> tuple[Any, ...]:
    """Train a run in a worker of Ray, whose cancelling a task is Ctrl-C here; return the message that it ends with.

    Args:
        order: the run.
        surroundings: settings of the process that leads.
        folder: its working folder.
        queue: the actor that takes what is to be shown.
    """
    import ray

    if not Path(folder).is_dir():
        return "failed", f"{socket.gethostname()} does not see {folder!r}: all machines of the cluster need it at the same place", 2
    os.chdir(folder)
    be_led()
    torch.set_num_threads(surroundings.threads)
    sent = []

    def send(*message: Any) -> None:
        sent[:] = [queue.put_nowait.remote((order.label, message))]

    log, warnings = logging.getLogger("senet"), _Warnings(order.label, send)
    log.addHandler(warnings)
    try:
        with allow_code(*surroundings.allowed):
            outcome = outcome_of(order, send)
    finally:
        log.removeHandler(warnings)
    ray.get(sent)  # so that all is shown before the run is known to have ended
    return outcome
