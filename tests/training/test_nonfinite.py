"""A step whose loss or gradients are not finite is left out without a trace where the recipe says so, and its images are named."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from made_runs import assert_same, assert_same_run, tiny, train_until
from senet.data.batch import Batch
from senet.data.loaders import TrainLoader
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint, write_checkpoint
from senet.training.graphed import stepper
from senet.training.job import Job, prepare
from senet.training.loop import train
from senet.training.nonfinite import GuardedStep, NonfiniteStepError, suspects
from senet.training.state import DivergenceError
from senet.training.step import train_step

SKIP = {"training__nonfinite": "skip", "data__workers": 0}


def poison(batch: Batch, image: int = 3) -> Batch:
    """Return a batch one of whose images holds NaN."""
    images = batch.images.clone()
    images[image, 0, 0, 0] = torch.nan
    return batch._replace(images=images)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that poisons the batches of these steps of all runs that follow."""
    epoch = TrainLoader.epoch

    def at(*steps: int) -> None:
        def given(loader: TrainLoader, number: int, start: int = 0) -> Iterator[Batch]:
            for place, batch in enumerate(epoch(loader, number, start), number * len(loader) + start):
                yield poison(batch) if place in steps else batch

        monkeypatch.setattr(TrainLoader, "epoch", given)

    return at


def parts_of(job: Job) -> dict[str, Any]:
    parts = {"model": job.model, "optimizer": job.optimizer, "average": job.average}
    return deepcopy({name: part.state_dict() for name, part in parts.items() if part is not None})


def begun(**changes: Any) -> tuple[Job, GuardedStep, list[Batch]]:
    job = prepare(tiny(training__ema_decay=0.9, data__batch_size=64, **SKIP, **changes))
    job.training_mode()
    step = stepper(job, job.wrap())
    assert isinstance(step, GuardedStep)
    return job, step, list(job.batches.epoch(0))


@pytest.mark.parametrize("taken", [0, 2])
def test_a_step_that_is_left_out_changes_nothing(taken: int) -> None:
    job, step, batches = begun()
    for batch in batches[:taken]:
        job.state.count_step(train_step(job, step, batch), len(batch.images))
    before = parts_of(job)
    with pytest.raises(NonfiniteStepError, match="loss") as raised:
        train_step(job, step, poison(batches[taken]))
    assert_same(parts_of(job), before)
    name = job.source.train.describe(batches[taken].indices[3])
    assert suspects(job, poison(batches[taken]), raised.value) == [name]
    assert len(suspects(job, batches[taken], raised.value)) == 64


@pytest.mark.parametrize(("what", "loss"), [("loss", torch.inf), ("gradient", 1.0)])
def test_an_infinite_loss_and_a_gradient_that_is_none_are_noticed(what: str, loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    job, step, batches = begun()
    before = parts_of(job)

    class Odd(torch.autograd.Function):
        """A loss of this value, whose gradient is 0, or NaN where the loss is finite."""

        @staticmethod
        def forward(ctx, x):
            return x.new_tensor(loss)

        @staticmethod
        def backward(ctx, *gradients):
            return gradients[0] * (0 if loss == torch.inf else torch.nan)

    monkeypatch.setattr(type(job.task), "loss", lambda task, outputs, targets: {"loss": Odd.apply(outputs.sum())})
    with pytest.raises(NonfiniteStepError, match=what):
        train_step(job, step, batches[0])
    assert_same(parts_of(job), before)


def test_a_run_leaves_steps_out_counts_them_and_names_their_images(
    tmp_path: Path, poisoned: Callable[..., None], capsys: pytest.CaptureFixture
) -> None:
    poisoned(2, 6)
    train(tiny(**SKIP), folder=tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert [row["skipped"] for row in run.metrics()] == [1, 2, 2]
    assert [row["step"] for row in run.metrics()] == [4, 8, 12]
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert [line.split(";")[0] for line in lines] == [f"step {n} is left out: its loss is not finite" for n in (3, 7)]
    job = prepare(tiny(**SKIP))
    names = [job.source.train.describe(job.batches.share(*place)[3]) for place in ((0, 2), (1, 2))]
    assert [line.split("images: ")[1] for line in lines] == names


def test_a_run_that_was_interrupted_leaves_out_the_same_steps(tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(2, 6)
    train(tiny(**SKIP), folder=tmp_path / "whole", progress=False)
    train_until(5, tiny(**SKIP), tmp_path / "run")
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_weights_of_which_no_step_counts_end_the_run(tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(*range(3, 12))
    with pytest.raises(DivergenceError, match=r"^the loss of the last 4 steps, which were left out, is not finite at epoch 2, step 7"):
        train(tiny(**SKIP), folder=tmp_path / "run", progress=False)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["skipped"] == 1


def test_half_an_epoch_without_a_step_is_remembered(tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(0, 1, 2, 3)
    train_until(1, tiny(**SKIP), tmp_path / "run")
    with pytest.raises(DivergenceError, match="the last 4 steps"):
        train(resume=tmp_path / "run", progress=False)


def test_without_the_policy_the_images_are_named_where_the_run_ends(tmp_path: Path, poisoned: Callable[..., None]) -> None:
    poisoned(6)
    job = prepare(tiny(data__workers=0))
    names = [job.source.train.describe(index) for index in job.batches.share(1, 2)]
    with pytest.raises(DivergenceError, match=rf"--training.nonfinite skip .* Its images: {', '.join(names[:8])} and 248 more$"):
        train(tiny(), folder=tmp_path, progress=False)


def test_a_run_of_an_earlier_version_goes_on_with_its_rows(tmp_path: Path) -> None:
    train_until(5, tiny(), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    saved = read_checkpoint(run.checkpoint)
    del saved["skipped"], saved["format"]
    for row in (*saved["rows"], saved["best"]):
        row.pop("skipped", None)
    write_checkpoint(run, saved)
    train(resume=run.path, progress=False)
    assert [row["skipped"] for row in run.metrics()] == [0, 0, 0]


def test_the_policy_has_two_names() -> None:
    with pytest.raises(UsageError, match=r"training\.nonfinite"):
        tiny(training__nonfinite="ignore")
