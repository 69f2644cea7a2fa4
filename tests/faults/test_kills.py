"""Killed at any moment, beside another process, or with a full disk: what is left goes on to the same weights, metrics and results."""

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import senet
from faults.forked import code_of, fork
from made_runs import assert_same_run, tiny
from process_ends import until
from senet.atomic import temporaries
from senet.cli import main
from senet.comparison import compare
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.results.run_folder import FILES, RunFolder
from senet.training import loop
from senet.training.checkpoint import latest_checkpoint
from senet.training.job import Job
from senet.training.loop import train
from senet.training.saving import CheckpointWriter
from senet.training.step import train_step
from senet.weights.seal import check_sealed
from senet.weights.store import read_metadata, read_weights, save_weights

RECIPE = tiny(training__epochs=2, training__save_steps=3)
RENAMES = 17
"""Files that a run of `RECIPE` puts in place, one after the other."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the run that was never hurt."""
    torch.set_num_threads(1)
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    train(RECIPE, folder=run.path, progress=False)
    return run


def go_on(run: RunFolder, recipe: Recipe = RECIPE) -> None:
    """Do what a user does after the end of a process: resume, or begin again where nothing was saved yet."""
    train(recipe, resume=run.path, progress=False) if run.has_checkpoint() else train(recipe, folder=run.path, progress=False)


def check_whole(run: RunFolder, whole: RunFolder) -> None:
    assert_same_run(run.path, whole.path)
    results = [found.result() for found in (run, whole)]
    assert results[0].metrics == results[1].metrics
    assert {path.name for path in run.path.iterdir()} == {path.name for path in whole.path.iterdir()}, "nothing is left behind"


def killed_at(number: int, *, before: bool) -> Callable[[], None]:
    """Return training that dies when it has put so many files in place, just before or after the last of them has its name."""

    def work() -> None:
        count, replace = 0, Path.replace

        def counted(path: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            if count == number and before:
                os.kill(os.getpid(), signal.SIGKILL)
            found = replace(path, target)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        Path.replace = counted  # pyright: ignore[reportAttributeAccessIssue] - this process ends soon
        train(RECIPE, folder="run", progress=False)

    return work


MOMENTS = [(number, before) for number in range(1, RENAMES + 1) for before in (True, False)]
OFTEN = [(1, False), (8, False), (12, False), (16, False)]
"""Before there is a run, between the two names of a checkpoint, with weights newer than it, and before the last word."""


@pytest.mark.parametrize(("number", "before"), [pytest.param(*at, marks=[] if at in OFTEN else [pytest.mark.slow]) for at in MOMENTS])
def test_killed_at_any_rename(whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, before: bool) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(fork(killed_at(number, before=before), tmp_path / "told")) == -signal.SIGKILL, "there are fewer renames"
    run = RunFolder(Path("run"))
    if run.is_finished():
        with pytest.raises(UsageError, match="is finished"):
            train(resume=run.path, progress=False)
    else:
        go_on(run)
    assert_same_run(run.path, whole.path)
    assert run.result().metrics == whole.result().metrics


def test_the_renames_are_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(fork(killed_at(RENAMES + 1, before=True), tmp_path / "told")) == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 26))])
def test_killed_at_random_moments_again_and_again(whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.chdir(tmp_path)
    run, delays = RunFolder(Path("run")), random.Random(seed)
    for _ in range(3):
        process = fork(lambda: None if run.is_finished() else go_on(run), tmp_path / "told")
        time.sleep(delays.uniform(0.0, 0.7))
        process.kill()
        code_of(process)
    if not run.is_finished():
        go_on(run)
    check_whole(run, whole)


KILLS = 50


def test_killed_while_it_saves_the_best_weights_and_the_last_checkpoint_are_whole_each_time(tmp_path: Path) -> None:
    run, model, delays = RunFolder(tmp_path / "run"), torch.nn.Linear(200, 200), random.Random(0)
    run.begin(RECIPE, {})

    def save(epoch: int, writer: CheckpointWriter) -> None:
        """Save as the end of an epoch does, weights that tell which epoch they are of."""
        writer.finish()
        for tensor in model.state_dict().values():
            tensor.fill_(epoch)
        save_weights(model, run.weights, extra={"epoch": epoch})
        writer.begin(run, {"epoch": epoch, "model": model.state_dict()})

    def save_on_and_on(first: int) -> None:
        with CheckpointWriter(torch.device("cpu")) as writer:
            for epoch in range(first, 10_000):
                save(epoch, writer)

    def found() -> tuple[int, int]:
        """Return the epochs of the best weights and of the last checkpoint, all of whose tensors are of that epoch."""
        check_sealed(run.weights)
        best = int(read_metadata(run.weights).extra["epoch"])
        last = latest_checkpoint(run)
        for tensors, epoch in ((read_weights(run.weights), best), (last["model"], last["epoch"])):
            assert all(bool((tensor == epoch).all()) for tensor in tensors.values())
        return best, last["epoch"]

    with CheckpointWriter(torch.device("cpu")) as writer:
        save(0, writer)
    epochs = [0]
    for _ in range(KILLS):
        process = fork(lambda: save_on_and_on(epochs[-1] + 1), tmp_path / "told")
        time.sleep(delays.uniform(0.0, 0.1))
        process.kill()
        assert code_of(process) == -signal.SIGKILL, (tmp_path / "told").read_text()
        best, last = found()
        assert epochs[-1] <= last <= best <= last + 1, "the weights are of that epoch, or of the one whose checkpoint was on its way"
        epochs.append(last)
        for left in temporaries(run.path, FILES):
            left.unlink()
    assert epochs[-1] >= KILLS // 5, "it did save meanwhile"


@contextlib.contextmanager
def stuck(work: Callable[[], object], folder: Path, told: Path, step: int = 6):
    """Let a process train that stops for good before a step, and be killed in the end."""

    def wait(job: Job, *args):
        if job.state.step == step:
            (told.parent / "stuck").touch()
            time.sleep(600)
        return train_step(job, *args)

    def hold() -> None:
        loop.train_step = wait
        work()

    process = fork(hold, told)
    try:
        deadline = time.monotonic() + 60
        while not (told.parent / "stuck").exists() and time.monotonic() < deadline and process.is_alive():
            time.sleep(0.02)
        assert process.is_alive(), told.read_text()
        yield process
    finally:
        process.kill()
        code_of(process)


def test_two_processes_in_one_folder(whole: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with stuck(lambda: train(RECIPE, folder=run.path, progress=False), run.path, tmp_path / "told") as process:
        refused = rf"another process trains here, pid {process.pid} on "
        with pytest.raises(UsageError, match=refused):
            train(resume=run.path, progress=False)
        with pytest.raises(UsageError, match="holds an unfinished run"):
            train(RECIPE, folder=run.path, progress=False)
        found = senet.evaluate(run.path, RECIPE.data)
        assert found.metrics["top1"] == pytest.approx(run.metrics()[0]["val_top1"])
    go_on(run)  # its lock died with it
    check_whole(run, whole)


def test_two_processes_that_begin_at_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    recipes = [tiny(training__epochs=1, seed=seed) for seed in (0, 1)]
    works = [lambda recipe=recipe: train(recipe, folder=run.path, progress=False) and 0 for recipe in recipes]
    told = [tmp_path / f"told{number}" for number in (0, 1)]
    codes = [code_of(process) for process in [fork(*pair) for pair in zip(works, told, strict=True)]]
    assert sorted(codes) == [0, 99], "one trains, the other is refused"
    loser, winner = codes.index(99), codes.index(0)
    assert any(words in told[loser].read_text().splitlines()[-1] for words in ("another process trains here", "holds a"))
    train(recipes[winner], folder=tmp_path / "alone", progress=False)
    assert_same_run(run.path, tmp_path / "alone")


def test_two_comparisons_of_the_same(tmp_path: Path) -> None:
    out, told = tmp_path / "runs", [tmp_path / "told0", tmp_path / "told1"]
    with stuck(lambda: compare(RECIPE, seeds=1, out=out), out, told[0]) as first:
        second = fork(lambda: compare(RECIPE, seeds=1, out=out) and 0, told[1])
        waits = f"another process trains it, pid {first.pid} on "
        until(lambda: told[1].exists() and waits in told[1].read_text())
        assert second.is_alive()
    assert code_of(second) == 0, told[1].read_text()
    assert told[1].read_text().count(waits) == 1
    runs = [RunFolder(path.parent) for path in out.rglob("recipe.yaml")]
    assert [run.is_finished() for run in runs] == [True, True]
    (begun,) = [run for run in runs if run.recipe().model.block is None]  # by the one that was killed
    train(begun.recipe(), folder=tmp_path / "alone", progress=False)
    assert_same_run(begun.path, tmp_path / "alone")


def test_a_full_disk_is_one_line_and_the_run_goes_on_where_it_was_saved(
    whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE.to_yaml())

    def full(job: Job, *args):
        if job.state.step == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        return train_step(job, *args)

    def work() -> int:
        loop.train_step = full
        return main.main(["train", "recipe.yaml", "--folder", "run", "--quiet"])

    assert code_of(fork(work, tmp_path / "told")) == 1
    (line,) = (tmp_path / "told").read_text().splitlines()
    assert line.startswith("senet train: cannot write run/last.ckpt: File too large, ")
    assert "MB free there; nothing was replaced. Raise the limit of a file's size (ulimit -f), then go on" in line
    run = RunFolder(Path("run"))
    assert torch.load(run.checkpoint, weights_only=True)["epoch"] == 1
    go_on(run)
    check_whole(run, whole)
