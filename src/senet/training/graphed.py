"""Steps as one CUDA graph: captured once, then started by one launch each, with the weights of steps that are launched one by one."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from torch import nn

from senet.data.batch import Batch
from senet.tasks.answers import takes_targets
from senet.text import message_line
from senet.training.buffers import Buffers
from senet.training.cuda_graph import CaptureError, CudaRecorder, graph_obstacle
from senet.training.host_decisions import HostDecisions, changes_on_host, host_state
from senet.training.job import Job
from senet.training.nonfinite import GuardedStep
from senet.training.step import DeviceStep, EagerStep
from senet.training.tally import Figures

log = logging.getLogger("senet")

WARM_UP = 3
"""Steps before the capture: kernels are compiled, cuDNN and cuBLAS choose theirs, and the last of the steps is watched."""


class Recorder(Protocol):
    """Means to repeat the work of a step without its Python."""

    def aside(self) -> AbstractContextManager[None]:
        """Take the steps before the capture where it will be."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture work, which is not done by that; return what does it.

        Raises:
            CaptureError: if that is impossible; all is as it was.
        """
        ...


class GraphedStep:
    """The device's part of a step, repeated from a CUDA graph.

    The first `WARM_UP` steps are launched one by one, as are all after them if something of a step is decided on the host, which is said.
    Batches are copied to where the graph reads them; one of another size, with images that could not be read, is launched one by one.

    Args:
        eager: the step as it is launched one by one.
        job: the run.
        recorder: captures it.
    """

    def __init__(self, eager: EagerStep, job: Job, recorder: Recorder) -> None:
        self._eager, self._job, self._recorder = eager, job, recorder
        self._inputs: Buffers | None = None
        self._replay: Callable[[], None] | None = None
        self._figures: Figures | None = None
        self._taken = 0
        self._is_given_up = False

    def __call__(self, batch: Batch) -> Figures:
        """Take the step."""
        if self._is_given_up:
            return self._eager(batch)
        self._job.state.writer.settle()  # a graph cannot wait for it between its operations
        if self._inputs is None:
            self._inputs = Buffers.like(self._job.to_device(batch))
        if not self._inputs.take(batch):
            return self._eager(batch)
        if self._taken < WARM_UP:
            self._taken += 1
            with self._recorder.aside():
                return self._watched() if self._taken == WARM_UP else self._compute()
        if self._replay is None and not self._capture():
            return self._compute()
        assert self._replay is not None
        self._replay()
        assert self._figures is not None
        return replace(self._figures, values=self._figures.values.clone())

    def _compute(self) -> Figures:
        assert self._inputs is not None
        return self._eager.compute(self._inputs.images, self._inputs.targets)

    def _watched(self) -> Figures:
        """Take a step, and give up if a graph could not repeat it."""
        owners = {"network": self._job.model, "task": self._job.task}
        before = host_state(owners)
        with HostDecisions() as decisions:
            figures = self._compute()
        if found := [*decisions.found, *changes_on_host(before, host_state(owners))]:
            self._give_up(found[0])
        return figures

    def _capture(self) -> bool:
        def work() -> None:
            self._figures = self._compute()

        try:
            self._replay = self._recorder.record(work)
        except CaptureError as error:
            self._give_up(str(error))
        return self._replay is not None

    def _give_up(self, reason: str) -> None:
        self._is_given_up, self._figures = True, None
        log.warning("%s", message_line(f"steps are launched one by one, not as a CUDA graph: {reason}"))


def stepper(job: Job, network: nn.Module) -> DeviceStep:
    """Return what takes the device's part of a run's steps: as a CUDA graph where the recipe allows it and it is possible.

    Args:
        job: the run.
        network: its network as training calls it.
    """
    eager = EagerStep(job, network)
    plan, device = job.recipe.training, job.fabric.device
    one_by_one = GuardedStep(eager, job) if plan.nonfinite == "skip" or plan.out_of_memory == "halve" else eager
    if plan.cuda_graph is False or device.type != "cuda":
        return one_by_one
    if obstacle := graph_obstacle(job.recipe, job.fabric, takes_targets=takes_targets(job.task)):
        if job.fabric.is_global_zero:
            log.warning("steps are launched one by one, not as a CUDA graph: %s", obstacle)
        return one_by_one
    return GraphedStep(eager, job, CudaRecorder(device, job.optimizer.optimizer, getattr(job.fabric.strategy.precision, "scaler", None)))
