"""One step of stochastic gradient descent: what the host decides of it, and what the device does, operation by operation."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from senet.data.batch import Batch
from senet.ops.backend import backend, fastest, requested
from senet.tasks.answers import counts_of, inputs_of, losses_of
from senet.training.accumulation import BatchPart, batch_parts, figures_of_parts
from senet.training.halving import agreed_gradients
from senet.training.job import Job
from senet.training.nonfinite import check_gradients, check_loss
from senet.training.optim import set_rate
from senet.training.seeding import seed_generators, seed_of
from senet.training.tally import Figures

DeviceStep = Callable[[Batch], Figures]
"""What the device does in a step, called with the batch as it was loaded."""


def train_step(job: Job, step: DeviceStep, batch: Batch) -> Figures:
    """Take the next step of a run: random numbers, the learning rate, and whether the average begins are of its place in the run."""
    place = job.state.step
    seed = seed_of(job.recipe.seed, "step", place, job.fabric.global_rank)
    seed_generators(seed, job.fabric.device)  # for dropout and its like
    set_rate(job.optimizer, job.schedule.rate(place))
    if job.average is not None:
        job.average.count()
    return step(batch)


class EagerStep:
    """The device's part of a step, launched operation by operation.

    Args:
        job: the run.
        network: its network as training calls it, see `Job.wrap`.
    """

    def __init__(self, job: Job, network: nn.Module) -> None:
        self._job, self._network = job, network
        self._tails = _tails(job)
        self._is_guarded = job.recipe.training.nonfinite == "skip"
        self._halves = job.recipe.training.out_of_memory == "halve"

    def __call__(self, batch: Batch) -> Figures:
        """Take the step."""
        there = self._job.to_device(batch)
        return self.compute(there.images, there.targets)

    def compute(self, images: Any, targets: Any) -> Figures:
        """Take the step for images and targets on the device; nothing of it is decided on the host.

        Raises:
            NonfiniteStepError: if it cannot count and the recipe says that it is left out.
            StepMemoryError: if memory runs out before weights change, and the recipe says that it is taken again in more parts.
        """
        job, clip_norm = self._job, self._job.recipe.optim.clip_norm
        parts = batch_parts(images, targets, job.state.parts)
        with self._request():
            job.optimizer.zero_grad()  # not at the end: the allocator hands the freed gradients to the activations, without page faults
            figures = agreed_gradients(job, lambda: self._gradients(parts)) if self._halves else self._gradients(parts)
            if self._is_guarded:
                check_gradients(job)
        if clip_norm is not None:
            job.fabric.clip_gradients(self._network, job.optimizer, max_norm=clip_norm, error_if_nonfinite=False)  # fp16 skips these itself
        job.state.writer.settle()
        job.optimizer.step()
        if job.average is not None:
            job.average.follow(job.model)
        return figures_of_parts(figures, parts)

    def _gradients(self, parts: list[BatchPart]) -> list[Figures]:
        return [self._backward(part, exchanges=part is parts[-1] and not self._halves) for part in parts]

    def _backward(self, part: BatchPart, *, exchanges: bool) -> Figures:
        """Add a part's gradients to those that are there; processes exchange theirs with the last, or after it."""
        job = self._job
        with nullcontext() if exchanges else job.fabric.no_backward_sync(self._network):  # pyright: ignore[reportArgumentType] - see `Job.wrap`
            outputs = self._network(*inputs_of(job.task, part.images, part.targets))
            losses = losses_of(job.task, outputs, part.targets)
            if self._is_guarded:
                check_loss(job, losses["loss"])
            job.fabric.backward(losses["loss"] if part.share == 1 else losses["loss"] * part.share)
        return Figures.of(losses, counts_of(job.task, outputs, part.targets))

    def _request(self) -> AbstractContextManager[None]:
        return nullcontext() if self._tails is None else backend(self._tails)


def _tails(job: Job) -> str | None:
    """Return the backend of the residual tails, None for whichever is chosen map by map.

    A graph pays for no launches, so that kernels serve maps of any size there. Steps that could be captured and are not ask for the same,
    else their weights would be others.
    """
    if job.fabric.device.type != "cuda" or job.fabric.world_size > 1 or job.recipe.training.compile:
        return None
    return requested() or fastest("cuda").name
