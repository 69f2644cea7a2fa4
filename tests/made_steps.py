"""Steps of a small job for tests: a job that is about to train, its next steps, all that they change, and recipes that change them."""

from collections.abc import Callable
from itertools import islice

import torch
from torch import nn

from made_runs import tiny
from senet.data.batch import Batch
from senet.training.job import Job, prepare
from senet.training.step import DeviceStep, train_step

STEPS = 7


def job_of(**changes) -> Job:
    job = prepare(tiny(data__batch_size=16, data__workers=0, model__name="cifar_resnet20", **changes))
    job.training_mode()
    return job


def run(
    job: Job, step: DeviceStep, steps: int = STEPS, alter: Callable[[int, Batch], Batch] = lambda place, batch: batch
) -> list[list[float]]:
    """Take the next steps of a job's epoch; return what each logged."""
    found = []
    for batch in islice(job.batches.epoch(job.state.epoch, start=job.state.batch), steps):
        figures = train_step(job, step, alter(job.state.step, batch))
        job.state.count_step(figures, len(batch.images))
        found.append(figures.values.tolist())
    job.state.flush()
    return found


def parts(job: Job) -> dict:
    average = {} if job.average is None else job.average.state_dict()
    return {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict(), "average": average, "sums": job.state.tally.sums}


class Odd(nn.Module):
    """Layer that does something with its input which a graph cannot repeat."""

    def __init__(self, act: Callable[["Odd", torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.act = act
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self, x)


OPTIONS = {
    "plain": {"model__block": None},
    "SE": {},
    "average": {"training__ema_decay": 0.9},
    "frozen BatchNorm": {"training__freeze_bn_epochs": 3},
    "no Nesterov": {"optim__nesterov": False},
    "label smoothing": {"training__label_smoothing": 0.1},
    "accumulated": {"training__accumulate": 3},
    "bf16, clipped, cosine": {"training__precision": "bf16", "optim__clip_norm": 0.5, "schedule__name": "cosine"},
}
