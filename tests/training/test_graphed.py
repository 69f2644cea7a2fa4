"""Steps from a recording are those that are launched one by one, bit for bit; what a recording cannot hold is found and said."""

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import nn

from made_runs import assert_same, tiny
from made_steps import OPTIONS, STEPS, Odd, job_of, parts, run
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.tasks.answers import evaluator_of
from senet.training.cuda_graph import CaptureError, CudaRecorder, check_graph, graph_obstacle
from senet.training.graphed import WARM_UP, GraphedStep, stepper
from senet.training.host_decisions import HostDecisions
from senet.training.job import Job, prepare
from senet.training.optim import FusedAdamW, FusedSGD
from senet.training.saving import CheckpointWriter
from senet.training.step import EagerStep


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


def graphed(job: Job, recorder: Rerun) -> GraphedStep:
    return GraphedStep(EagerStep(job, job.wrap()), job, recorder)


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


def test_a_replay_begins_when_a_checkpoint_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph changes weights without asking."""
    job, waited, replayed = job_of(), list[bool](), list[bool]()
    bring = CheckpointWriter._bring

    def slow(*args: Any) -> None:
        Event().wait(0.3)
        bring(*args)
        waited.append(True)

    class Watching(Rerun):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            replay = super().record(work)

            def watched() -> None:
                replayed.append(bool(waited))
                replay()

            return watched

    monkeypatch.setattr(CheckpointWriter, "_bring", slow)
    step = graphed(job, Watching())
    (tmp_path / "recipe.yaml").touch()  # it has begun
    with job.state.writer:
        run(job, step, WARM_UP + 1)
        job.state.begin_save(RunFolder(tmp_path))
        run(job, step, 1)
    assert replayed == [False, True]


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
        ({"training__out_of_memory": "halve"}, "training.out_of_memory halve takes a step again"),
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
