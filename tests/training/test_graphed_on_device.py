"""Steps as CUDA graphs on a device: captured, replayed, resumed, and given up."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from made_runs import assert_same, assert_same_run, tiny, train_until, written_checkpoints
from made_steps import OPTIONS, Odd, job_of, parts, run
from senet.tasks.answers import evaluator_of
from senet.training.cuda_graph import CudaRecorder
from senet.training.graphed import WARM_UP, GraphedStep, stepper
from senet.training.job import Job
from senet.training.loop import train
from senet.training.processes import start_fabric
from senet.training.step import EagerStep, train_step

on_device = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def gpu(function: Callable) -> Callable:
    for mark in on_device:
        function = mark(function)
    return function


@pytest.fixture
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


ON_DEVICE = OPTIONS | {
    "fp16": {"training__precision": "fp16"},
    "dropout": {"model__name": "dropout"},
}


def device_job(**changes) -> Job:
    drops = changes.pop("model__name", None) == "dropout"
    job = job_of(**changes)
    if drops:
        job.model.conv1 = nn.Sequential(job.model.get_submodule("conv1"), nn.Dropout(0.3))
    if scaler := getattr(job.fabric.strategy.precision, "scaler", None):
        scaler._init_scale = 2.0**30  # overflows: the first steps are skipped
    job.training_mode()
    return job


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let operators that wait for the device raise."""
    with warnings.catch_warnings(action="ignore"):  # torch calls this a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@gpu
@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("options", ON_DEVICE)
def test_captured_steps_are_eager_steps(options: str, caplog: pytest.LogCaptureFixture) -> None:
    one, other = device_job(**ON_DEVICE[options]), device_job(**ON_DEVICE[options])
    figures = run(one, EagerStep(one, one.wrap()), 20)
    step = stepper(other, other.wrap())
    assert run(other, step, 20) == figures
    assert isinstance(step, GraphedStep)
    assert step._replay is not None, caplog.text
    assert_same(parts(one), parts(other))


@gpu
@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("what", ["an .item() in the network", "a capture that breaks off"])
def test_on_a_device_a_failure_falls_back_with_all_as_it_was(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asks_first = what == "an .item() in the network"
    one, other = (device_job(model__name="dropout", **({} if asks_first else {"training__ema_decay": 0.9})) for _ in range(2))
    asks = lambda odd, x: x * (1.0 if x.sum().item() > 0 else 2.0)  # noqa: E731
    if asks_first:
        for job in (one, other):
            job.model.conv1 = nn.Sequential(job.model.get_submodule("conv1"), Odd(asks))
    figures = run(one, EagerStep(one, one.wrap()), 10)
    step = stepper(other, other.wrap())
    if not asks_first:
        record = CudaRecorder.record

        def broken(self: CudaRecorder, work: Callable[[], None]) -> Callable[[], None]:
            return record(self, lambda: (work(), torch.ones(1, device="cuda").item())[0])

        monkeypatch.setattr(CudaRecorder, "record", broken)
    with caplog.at_level(logging.WARNING):
        assert run(other, step, 10) == figures
    assert len(caplog.messages) == 1
    assert_same(parts(one), parts(other))


@gpu
def test_a_replay_asks_the_device_nothing() -> None:
    job = device_job()
    step = stepper(job, job.wrap())
    run(job, step, WARM_UP + 1)
    batches = [job.to_device(batch) for batch in islice(job.batches.epoch(0, start=job.state.batch), 3)]
    with without_waiting():
        for batch in batches:
            job.state.count_step(train_step(job, step, batch), len(batch.images))
            job.state.collect()


@gpu
def test_validation_on_a_device_is_not_waited_for_before_its_end() -> None:
    job = device_job()
    evaluator = evaluator_of(job.task, job.source, job.fabric.device)
    batches = [batch.to(job.fabric.device) for batch in job.validation]
    with torch.inference_mode():
        evaluator.update(job.task.average([job.model], batches[0].images), batches[0])
        with without_waiting():
            for batch in batches:
                evaluator.update(job.task.average([job.model], batch.images), batch)
    assert 0 <= evaluator.compute()["top1"] <= 100


@gpu
@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("graph", [False, True])
def test_checkpoints_beside_steps_are_those_of_copies_at_once(tmp_path: Path, *, graph: bool) -> None:
    changes = {"training__save_steps": 1, "training__ema_decay": 0.9, "data__batch_size": 64}
    recipe = tiny(training__epochs=1, training__cuda_graph=graph, **changes)
    beside = written_checkpoints(recipe, tmp_path / "beside")
    assert len(beside) > WARM_UP
    assert_same(beside, written_checkpoints(recipe, tmp_path / "at_once", at_once=True))


@gpu
def test_fused_sgd_on_a_device_begins_with_the_gradient() -> None:
    fabric = start_fabric("fp32")
    assert fabric.device.type == "cuda"
    job = device_job()
    run(job, EagerStep(job, job.wrap()), 1)
    first = job.optimizer.param_groups[0]["params"][0]
    momentum = job.optimizer.state[first]["momentum_buffer"]
    assert torch.allclose(momentum, first.grad + 1e-4 * (first + 0), atol=1e-3)


@gpu
@pytest.mark.usefixtures("_deterministic")
def test_a_captured_run_is_one_of_single_launches_also_when_it_is_resumed(tmp_path: Path) -> None:
    changes = {"data__batch_size": 64, "training__freeze_bn_epochs": 1, "training__ema_decay": 0.9, "schedule__name": "cosine"}
    train(tiny(training__cuda_graph=False, **changes), folder=tmp_path / "launched", progress=False)
    train(tiny(training__cuda_graph=True, **changes), folder=tmp_path / "captured", progress=False)
    assert_same_run(tmp_path / "launched", tmp_path / "captured")

    train_until(30, tiny(training__cuda_graph=True, **changes), tmp_path / "resumed")
    train(resume=tmp_path / "resumed", progress=False)
    assert_same_run(tmp_path / "launched", tmp_path / "resumed")
