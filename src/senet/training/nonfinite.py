"""Steps whose loss or gradients are not finite: left out where the recipe says so."""

from collections.abc import Callable

import torch
from torch import Tensor

from senet.data.batch import Batch
from senet.training.halving import StepMemoryError
from senet.training.job import Job
from senet.training.step_images import images_of_step
from senet.training.tally import Figures


class NonfiniteStepError(Exception):
    """Step that cannot count; of several processes, all meet it together.

    Args:
        what: what is not finite, "loss" or "gradient".
        is_own: whether it may be due to this process's share of the batch.
    """

    def __init__(self, what: str, *, is_own: bool = True) -> None:
        super().__init__(what)
        self.what, self.is_own = what, is_own


def check_loss(job: Job, loss: Tensor) -> None:
    """Raise NonfiniteStepError unless a step's loss is finite in all processes; the host waits for it."""
    bad = ~torch.isfinite(loss.detach()).all()
    found = bad.to(torch.uint8)
    if job.fabric.world_size > 1:
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    if found:
        raise NonfiniteStepError("loss", is_own=bool(bad))


def check_gradients(job: Job) -> None:
    """Raise NonfiniteStepError unless a step's gradients are finite, which in all processes are the same; fp16 looks at them itself."""
    if job.recipe.training.precision == "fp16":
        return
    gradients = [parameter.grad for parameter in job.model.parameters() if parameter.grad is not None]
    if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
        raise NonfiniteStepError("gradient")


class GuardedStep:
    """The device's part of a step which, if it cannot count, changes nothing: neither weights nor statistics nor averages.

    Args:
        eager: takes the step; it raises what is caught here before it changes weights.
        job: the run.
    """

    def __init__(self, eager: Callable[[Batch], Figures], job: Job) -> None:
        self._eager, self._job = eager, job

    def __call__(self, batch: Batch) -> Figures:
        """Take the step.

        Raises:
            NonfiniteStepError, StepMemoryError: if it cannot count; all is as it was before.
        """
        buffers = list(self._job.model.buffers())
        kept = [buffer.clone() for buffer in buffers]
        try:
            return self._eager(batch)
        except (NonfiniteStepError, StepMemoryError):
            for buffer, before in zip(buffers, kept, strict=True):  # BatchNorm has seen the batch
                buffer.copy_(before)
            self._job.optimizer.zero_grad()
            if self._job.average is not None:
                self._job.average.discount()
            raise


def suspects(job: Job, batch: Batch, error: NonfiniteStepError) -> list[str]:
    """Return the names of the images to which a step that cannot count may be due; all processes call this.

    Of a batch in which some images hold values that are not finite, these are they.
    """
    own: list[str] = []
    if error.is_own:
        own = [job.source.train.describe(index) for index in batch.indices] or images_of_step(job.source.train, job.batches, job.state.step)
        if isinstance(batch.images, Tensor) and len(own) == len(batch.images):
            bad = (~torch.isfinite(batch.images).flatten(1).all(1)).tolist()
            own = [name for name, is_bad in zip(own, bad, strict=True) if is_bad] or own
    if job.fabric.world_size == 1:
        return own
    all_names: list[list[str]] = [[]] * job.fabric.world_size
    torch.distributed.all_gather_object(all_names, own)
    return [name for names in all_names for name in names]
