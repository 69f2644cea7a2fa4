"""Steps from a recording are those that are launched one by one, bit for bit; what a recording cannot hold is found and said."""

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from made_runs import assert_same, assert_same_run, tiny, train_until
from senet.data.batch import Batch
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.tasks.answers import evaluator_of
from senet.training.cuda_graph import CaptureError, CudaRecorder, check_graph, graph_obstacle
from senet.training.graphed import WARM_UP, GraphedStep, stepper
from senet.training.host_decisions import HostDecisions
from senet.training.job import Job, prepare
from senet.training.loop import train
from senet.training.optim import FusedAdamW, FusedSGD
from senet.training.processes import start_fabric
from senet.training.step import DeviceStep, EagerStep, train_step

STEPS = 7


class Rerun:
    """Recorder for a CPU: takes the step again in place of a graph, and holds that the host decides nothing in it.

    Args:
        error: what a capture raises, after the work was done on the host and undone on the device.
    """

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.replays = 0

    def aside(self) -> nullcontext:
        return nullcontext()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.error:
            raise CaptureError(self.error)

        def replay() -> None:
            with HostDecisions() as decisions:
                work()
            assert not decisions.found
            self.replays += 1

        return replay


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


def graphed(job: Job, recorder: Rerun) -> GraphedStep:
    return GraphedStep(EagerStep(job, job.wrap()), job, recorder)


def parts(job: Job) -> dict:
    average = {} if job.average is None else job.average.state_dict()
    return {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict(), "average": average, "sums": job.state.tally.sums}


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


@pytest.mark.parametrize("options", OPTIONS)
def test_recorded_steps_are_eager_steps(options: str) -> None:
    one, other, recorder = job_of(**OPTIONS[options]), job_of(**OPTIONS[options]), Rerun()
    figures = run(one, EagerStep(one, one.wrap()))
    assert run(other, graphed(other, recorder)) == figures
    assert recorder.replays == STEPS - WARM_UP
    assert_same(parts(one), parts(other))


@pytest.mark.parametrize(("name", "kind"), [("sgd", FusedSGD), ("adamw", FusedAdamW)])
def test_recorded_steps_of_fused_optimisers_are_eager_steps_too(monkeypatch: pytest.MonkeyPatch, name: str, kind: type) -> None:
    monkeypatch.setattr("senet.training.job.can_fuse", lambda recipe, device: True)
    changes = {"schedule__name": "cosine", "optim__name": name, "optim__groups__blocks": 2.0, "optim__groups__host": 0.0}
    one, other, recorder = job_of(**changes), job_of(**changes), Rerun()
    assert isinstance(one.optimizer, kind)
    figures = run(one, EagerStep(one, one.wrap()))
    assert run(other, graphed(other, recorder)) == figures
    assert recorder.replays == STEPS - WARM_UP
    assert_same(parts(one), parts(other))


@pytest.mark.parametrize("name", ["se_cifar_resnet20", "preresnet20", "cmpe_se_preresnet20", "scse_preresnet20"])
def test_no_network_of_the_recipes_decides_on_the_host(name: str, caplog: pytest.LogCaptureFixture) -> None:
    job, recorder = prepare(replace_model(tiny(data__batch_size=8, data__workers=0, data__image_size=32), name)), Rerun()
    job.training_mode()
    run(job, graphed(job, recorder), WARM_UP + 1)
    assert recorder.replays == 1, caplog.text


def replace_model(recipe: Recipe, name: str) -> Recipe:
    return replace(recipe, model=replace(recipe.model, name=name, block="auto"))


@pytest.mark.parametrize("first", [1, 5], ids=["before the capture", "after it"])
def test_a_job_that_takes_over_goes_on(first: int) -> None:
    whole = job_of(training__ema_decay=0.9)
    figures = run(whole, EagerStep(whole, whole.wrap()), 10)
    begun, other = (job_of(training__ema_decay=0.9) for _ in range(2))
    found = run(begun, graphed(begun, Rerun()), first)
    for name, part in begun.state._parts.items():
        other.state._parts[name].load_state_dict(part.state_dict())
    other.state.batch = begun.state.batch
    assert found + run(other, graphed(other, Rerun()), 10 - first) == figures
    for name in ("model", "average"):
        assert_same(parts(whole)[name], parts(other)[name])


def test_a_batch_of_another_size_is_launched_by_itself() -> None:
    shorter = lambda place, batch: batch if place != 5 else batch._replace(images=batch.images[:9], targets=batch.targets[:9])  # noqa: E731
    one, other, recorder = job_of(), job_of(), Rerun()
    figures = run(one, EagerStep(one, one.wrap()), alter=shorter)
    assert run(other, graphed(other, recorder), alter=shorter) == figures
    assert recorder.replays == STEPS - WARM_UP - 1
    assert_same(parts(one)["model"], parts(other)["model"])


def test_a_capture_that_fails_is_said_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one, other = job_of(training__ema_decay=0.9), job_of(training__ema_decay=0.9)
    figures = run(one, EagerStep(one, one.wrap()))
    assert run(other, graphed(other, Rerun("an operator refuses"))) == figures
    assert_same(parts(one), parts(other))
    assert caplog.messages == ["steps are launched one by one, not as a CUDA graph: an operator refuses"]


class Odd(nn.Module):
    """Layer that does something with its input which a graph cannot repeat."""

    def __init__(self, act: Callable[["Odd", torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.act = act
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self, x)


def counting(odd: Odd, x: torch.Tensor) -> torch.Tensor:
    odd.calls += 1
    return x


def replacing(odd: Odd, x: torch.Tensor) -> torch.Tensor:
    odd.seen = odd.get_buffer("seen") + 1
    return x


ODD = {
    "asks for a value": (lambda odd, x: x * (1.0 if x.sum().item() > 0 else 2.0), "aten::_local_scalar_dense makes the host wait"),
    "branches": (lambda odd, x: x if x.max() > 0 else -x, "makes the host wait for a value of the device"),
    "takes what a mask says": (lambda odd, x: x + x[x > 0].sum() * 0, "aten::index makes the host wait"),
    "draws on the host": (lambda odd, x: x * random.choice((1.0, 2.0)), "the state of random numbers changed on the host"),
    "counts": (counting, "network's conv1.1.calls changed on the host"),
    "replaces a buffer": (replacing, "network's conv1.1.seen changed on the host"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_a_graph_cannot_repeat_is_found_before_it_is_captured(what: str, caplog: pytest.LogCaptureFixture) -> None:
    act, message = ODD[what]
    one, other = job_of(), job_of()
    for job in (one, other):
        job.model.conv1 = nn.Sequential(job.model.get_submodule("conv1"), Odd(act))
    random.seed(0)
    figures = run(one, EagerStep(one, one.wrap()))
    random.seed(0)
    recorder = Rerun()
    assert run(other, graphed(other, recorder)) == figures
    assert recorder.replays == 0
    assert len(caplog.messages) == 1
    assert message in caplog.text


def test_only_classes_without_a_number_are_asked_for() -> None:
    targets = torch.tensor([0, 2])
    with torch.inference_mode(), HostDecisions() as decisions:
        nn.functional.one_hot(targets, 3)
        assert not decisions.found
        nn.functional.one_hot(targets)
    assert decisions.found == ["aten::one_hot makes the host wait for a value of the device"]


def test_validation_asks_for_nothing_before_its_end() -> None:
    job = job_of()
    evaluator = evaluator_of(job.task, job.source, job.fabric.device)
    batch = next(iter(job.validation))
    with torch.inference_mode():
        outputs = job.task.average([job.model], batch.images)
        with HostDecisions() as decisions:
            evaluator.update(outputs, batch)
    assert not decisions.found


def test_a_question_in_the_backward_pass_is_found() -> None:
    class Asking(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, *gradients):
            return gradients[0] * float(gradients[0].sum().item() > 0)

    x = torch.ones(3, requires_grad=True)
    with HostDecisions() as decisions:
        Asking.apply(x).sum().backward()
    assert decisions.found == ["aten::_local_scalar_dense makes the host wait for a value of the device"]


def test_copies_between_host_and_device_are_found_and_numbers_are_not() -> None:
    with HostDecisions() as decisions:
        there = torch.ones(3, device="meta")
        there * torch.tensor(2.0)
        assert len(there[torch.tensor([0, 1], device="meta")]) == 2
    assert not decisions.found
    with HostDecisions() as decisions:
        torch.ones(3).to("meta")
    assert decisions.found == ["aten::_to_copy copies between host and device"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_a_recipe_cannot_ask_for_a_graph() -> None:
    with pytest.raises(UsageError, match=r"^training\.cuda_graph true is impossible: it needs a CUDA device, and there is none here; null"):
        prepare(tiny(training__cuda_graph=True))


class OnCuda:
    """Fabric of a CUDA device that is not there."""

    device = torch.device("cuda")
    world_size = 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"training__precision": "bf16", "optim__clip_norm": 1.0, "training__ema_decay": 0.9}, None),
        ({"training__precision": "fp16"}, None),
        ({"training__precision": "fp16", "optim__clip_norm": 1.0}, "optim.clip_norm with training.precision fp16 asks the device"),
        ({"training__compile": True}, "training.compile is on"),
        ({"training__nonfinite": "skip"}, "training.nonfinite skip asks the device"),
    ],
    ids=str,
)
def test_what_is_known_beforehand_to_be_no_graph(changes: dict, reason: str | None) -> None:
    found = graph_obstacle(tiny(**changes), OnCuda())  # pyright: ignore[reportArgumentType]
    assert (found is None) if reason is None else (found is not None and found.startswith(reason))


def test_a_network_that_is_called_with_targets_is_no_graph() -> None:
    found = graph_obstacle(tiny(), OnCuda(), takes_targets=True)  # pyright: ignore[reportArgumentType]
    assert found is not None
    assert "calls its network with targets" in found
    wanted = replace(tiny(), training=replace(tiny().training, cuda_graph=True))
    with pytest.raises(UsageError, match=r"training\.cuda_graph true is impossible: the task calls its network with targets"):
        check_graph(wanted, OnCuda(), takes_targets=True)  # pyright: ignore[reportArgumentType]


def test_by_default_a_cpu_launches_its_steps_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    job = job_of()
    check_graph(job.recipe, job.fabric)
    assert isinstance(stepper(job, job.wrap()), EagerStep)
    assert not caplog.messages


class Calls:
    """Stand-in for CUDA: notes what is asked of it, and refuses to end a capture that was broken."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def note(self, name: str) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            return nullcontext(self)

        return called

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.note(name)

    def capture_end(self) -> None:
        self.names.append("capture_end")
        if "work" not in self.names:
            raise RuntimeError("the capture is not valid")

    def pool(self) -> None:
        if "work" not in self.names:
            raise RuntimeError("the capture has not ended")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for name in ("Stream", "CUDAGraph", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *args: calls)
    for name in ("stream", "synchronize", "empty_cache", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, calls.note(name))
    monkeypatch.setattr(torch.cuda, "default_generators", [calls])
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", calls.note("end_allocate"), raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", calls.note("release"), raising=False)
    monkeypatch.setattr(torch, "Generator", calls.note("Generator"))
    return calls


def test_a_capture_begins_and_ends_on_its_own_stream(cuda: Calls) -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    recorder = CudaRecorder(torch.device("cuda", 0), torch.optim.SGD([weight], lr=0.1))
    with recorder.aside():
        cuda.note("warm-up")()
    recorder.record(cuda.note("work"))()
    before = ["wait_stream", "stream", "warm-up", "wait_stream"]
    assert cuda.names == [
        *before,
        "synchronize",
        "empty_cache",
        "graph_pool_handle",
        "stream",
        "capture_begin",
        "work",
        "capture_end",
        "replay",
    ]
    assert weight.grad is None


def test_a_broken_capture_is_ended_named_and_cleared_away(cuda: Calls) -> None:
    weight = nn.Parameter(torch.ones(2))
    sgd, scaler = FusedSGD([{"params": [weight]}], lr=0.1), torch.amp.GradScaler("cpu")
    scaler._per_optimizer_states[0] = {}
    torch.manual_seed(5)

    def broken() -> None:
        weight.grad = torch.ones(2)
        sgd.grad_scale = torch.ones(())  # pyright: ignore[reportAttributeAccessIssue]
        torch.rand(1)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    with pytest.raises(CaptureError, match=r"^operation not permitted when stream is capturing$"):
        CudaRecorder(torch.device("cuda", 0), sgd, scaler).record(broken)
    assert cuda.names[-7:] == ["capture_end", "end_allocate", "reset", "release", "Generator", "graphsafe_set_state", "synchronize"]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert not scaler._per_optimizer_states
    assert not hasattr(sgd, "grad_scale")
    assert weight.grad is None


# ---- on a device ---------------------------------------------------------------------------------------------------------------------
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
