"""Steps for which memory runs out, taken again in twice as many parts where the recipe says so."""

import gc
import logging
from collections.abc import Callable

import torch

from senet.measuring.exhaustion import is_out_of_memory
from senet.training.batchnorm import broadcast_buffers
from senet.training.job import Job
from senet.training.tally import Figures

log = logging.getLogger("senet")


class StepMemoryError(Exception):
    """Lack of memory for the gradients of a step; of several processes, all meet it together. Its cause says what ran out."""


def agreed_gradients(job: Job, work: Callable[[], list[Figures]]) -> list[Figures]:
    """Return what work returns, which makes the gradients of a step without other processes, and then average them over all.

    Raises:
        StepMemoryError: if memory ran out in one of the processes.
    """
    world, figures, lacking = job.fabric.world_size, list[Figures](), None
    if world > 1:
        broadcast_buffers(job.model)  # as DDP does
    try:
        figures = work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        lacking = error
    if world > 1:
        flag = torch.tensor(lacking is not None, dtype=torch.uint8, device=job.fabric.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        if flag and lacking is None:
            lacking = torch.OutOfMemoryError(f"{job.fabric.device.type.upper()} out of memory, in another process")
    if lacking is not None:
        raise StepMemoryError from lacking
    if world > 1:
        _average_gradients(job)
    return figures


def again_in_parts(job: Job, take: Callable[[], Figures]) -> Figures:
    """Return what a step returns, taken again in more parts as often as memory runs out."""
    while True:
        try:
            return take()
        except StepMemoryError as error:
            _halve(job, error)
        gc.collect()  # not in the handler: the error holds what the step had made
        if job.fabric.device.type == "cuda":
            torch.cuda.empty_cache()


def _halve(job: Job, error: StepMemoryError) -> None:
    """Double the parts of the steps, and note it; raise the cause if parts would be single images, in which BatchNorm has no variance."""
    state, images = job.state, job.recipe.data.batch_size // job.fabric.world_size
    if 2 * state.parts > images // 2:
        assert error.__cause__ is not None
        raise error.__cause__
    state.parts *= 2
    line = f"memory ran out at step {state.step + 1}: steps are taken in {state.parts} parts from there on"
    state.changes.append(f"epoch {state.epoch + 1}: {line}")
    if job.fabric.is_global_zero:
        log.warning("%s", line)


def _average_gradients(job: Job) -> None:
    for parameter in job.model.parameters():
        if parameter.grad is not None:
            mean = (parameter.grad / job.fabric.world_size).contiguous()
            torch.distributed.all_reduce(mean)
            parameter.grad.copy_(mean)
