"""A frozen part does not move, neither weights nor statistics, and begins when its epoch has come; the run resumes bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from made_runs import assert_same_run, tiny, train_until
from senet.errors import UsageError
from senet.training.job import Job, prepare
from senet.training.loop import train
from senet.training.parts import Part, parameter_parts
from senet.training.step import EagerStep, train_step
from senet.training.unfreezing import Unfreezing

GRADUAL = {"training__unfreeze__blocks": 1, "training__unfreeze__host": 2, "optim__lr": 0.01}


def job_of(**changes: Any) -> Job:
    """Return a job whose biases are not 0, so that weight decay moves those without a gradient too, behind a ReLU that is never on."""
    job = prepare(tiny(data__workers=0, **changes))
    for name, parameter in job.model.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(parameter, 0.1)
    return job


def after_epoch(job: Job) -> dict[str, Tensor]:
    """Train the next epoch; return copies of all tensors of the network."""
    job.training_mode()
    step = EagerStep(job, job.wrap())
    for batch in job.batches.epoch(job.state.epoch, start=0):
        job.state.count_step(train_step(job, step, batch), len(batch.images))
    job.state.flush()
    job.state.epoch, job.state.batch = job.state.epoch + 1, 0
    return {name: tensor.clone() for name, tensor in job.model.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_parts_begin_one_after_the_other(optimizer: str) -> None:
    job = job_of(optim__name=optimizer, **GRADUAL)
    parts, now = parameter_parts(job.model), {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    statistics = set(now) - set(parts)
    trained: set[Part] = set()
    for part in ("head", "blocks", "host"):
        trained.add(part)
        before, now = now, after_epoch(job)
        wanted = {name for name, own in parts.items() if own in trained}
        assert moved(before, now) == wanted | (statistics if part == "host" else set())
        assert all((parameter.grad is not None) == (name in wanted) for name, parameter in job.model.named_parameters())


def test_a_factor_of_0_freezes_for_good() -> None:
    job = job_of(optim__groups__host=0.0)
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    after = after_epoch(job)
    parts = parameter_parts(job.model)
    assert moved(before, after) == {name for name, part in parts.items() if part != "host"}
    assert job.turns == {job.recipe.training.epochs}


def test_batchnorm_alone_changes_its_mode() -> None:
    job = job_of(optim__groups__host=0.0)
    job.training_mode()
    still = {type(module) for module in job.model.modules() if not module.training}
    assert still
    assert all(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in still)


def test_what_the_network_itself_does_not_train_stays_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    model[0].requires_grad_(False)
    unfreezing = Unfreezing(model, tiny(training__unfreeze__blocks=2))
    for epoch in range(3):
        unfreezing.hold(epoch)
        assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def test_batchnorm_that_freezes_last_stays_frozen_where_parts_begin() -> None:
    job = job_of(training__unfreeze__host=2, training__freeze_bn_epochs=2)
    _, before, after = (after_epoch(job) for _ in range(3))
    norms = {
        f"{path}.{name}" for path, module in job.model.named_modules() if isinstance(module, nn.BatchNorm2d) for name in module.state_dict()
    }
    assert moved(before, after) == set(parameter_parts(job.model)) - norms


@pytest.mark.parametrize(("changes", "step"), [({"optim__name": "adamw", **GRADUAL}, 3), (GRADUAL, 8)], ids=["adamw", "sgd"])
def test_a_resumed_run_is_the_same(tmp_path: Path, changes: dict, step: int) -> None:
    changes = {"optim__groups__head": 5.0, "optim__layer_decay": 0.8, "optim__decay_norm_and_bias": False, **changes}
    train(tiny(**changes), folder=tmp_path / "whole", progress=False)

    train_until(step, tiny(**changes), tmp_path / "run")
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_the_rate_that_is_logged_is_the_base(tmp_path: Path) -> None:
    run = train(tiny(optim__lr=0.02, optim__groups__head=10.0), folder=tmp_path / "run", progress=False)
    assert run.final["lr"] == 0.02
    assert load_file(tmp_path / "run" / "best.safetensors")


def test_a_run_in_which_nothing_trains_is_one_line() -> None:
    with pytest.raises(UsageError, match="nothing trains in the first epoch: this network has head and blocks and host"):
        job_of(training__unfreeze__head=1, training__unfreeze__blocks=1, training__unfreeze__host=1)
    with pytest.raises(UsageError, match="nothing trains in the first epoch: this network has head and host"):
        job_of(model__block=None, optim__groups__head=0.0, optim__groups__host=0.0)
