"""A run that was interrupted and resumed is the run that never stopped, bit for bit."""

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from made_runs import assert_same_run, tiny, train_until
from senet.cli.main import main
from senet.errors import UsageError
from senet.recipe import override
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.interruption import Interrupted
from senet.training.job import Job
from senet.training.loop import train
from senet.training.step import train_step
from senet.weights.trailer import trailer

OPTIONS = {
    "everything": {
        "schedule__name": "cosine",
        "schedule__warmup_steps": 2,
        "training__ema_decay": 0.9,
        "training__freeze_bn_epochs": 1,
        "training__label_smoothing": 0.1,
        "training__precision": "bf16",
        "optim__clip_norm": 1.0,
        "optim__decay_norm_and_bias": False,
        "data__cutout": 2,
    },
    "plateau": {"schedule__name": "plateau", "schedule__patience": 1, "optim__lr": 0.3},
    "class-aware": {"data__sampler": "class_aware"},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of `tiny()` that never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    torch.set_num_threads(1)
    train(tiny(), folder=folder, progress=False)
    return folder


def interrupt_before(monkeypatch: pytest.MonkeyPatch, step: int, signum: int = signal.SIGINT) -> None:
    """Send a signal to this process just before a step is taken."""

    def interrupted(job: Job, *args):
        if job.state.step == step:
            signal.raise_signal(signum)
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", interrupted)


@pytest.mark.parametrize("options", OPTIONS)
def test_with_any_options_a_resumed_run_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    train(tiny(**OPTIONS[options]), folder=tmp_path / "whole", progress=False)
    resumed_is_whole(tmp_path / "run", tmp_path / "whole", monkeypatch, OPTIONS[options], step=5)


def test_with_fp16_the_loss_scale_is_part_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fp16_on_a_cpu(precision: str) -> Fabric:  # slow, but the same steps as on a GPU
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)  # overflows: the first steps are skipped until it has come down
        return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    changes = {"training__precision": "fp16", "optim__clip_norm": 1.0}
    monkeypatch.setattr("senet.training.job.start_fabric", fp16_on_a_cpu)
    train(tiny(**changes), folder=tmp_path / "whole", progress=False)
    state = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)
    assert 1 < state["scaler"]["scale"] < 2.0**30
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    with monkeypatch.context() as patch:
        interrupt_before(patch, 5)
        with pytest.raises(Interrupted):
            train(tiny(**changes), folder=tmp_path / "run", progress=False)
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("step", [0, 6, 7, 11], ids=["first", "middle of an epoch", "last of an epoch", "last of all"])
def test_after_any_step_a_resumed_run_is_the_same(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    resumed_is_whole(tmp_path, whole, monkeypatch, {}, step)


def resumed_is_whole(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, step: int) -> None:
    interrupt_before(monkeypatch, step)
    with pytest.raises(Interrupted, match=re.escape(f"interrupted by SIGINT; go on with `senet train --resume {tmp_path}`")):
        train(tiny(**changes), folder=tmp_path, progress=False)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (step // 4, step % 4 + 1)
    monkeypatch.undo()
    torch.manual_seed(12345)  # what a new process would have is something else again
    train(resume=tmp_path, progress=False)
    assert_same_run(tmp_path, whole)


def test_resumed_again_and_again_with_other_numbers_of_workers(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, workers = tmp_path / "run", 0
    interrupt_before(monkeypatch, 1)
    with pytest.raises(Interrupted):
        train(tiny(data__workers=workers), folder=run, progress=False)
    for step, workers in ((6, 2), (9, 1)):
        interrupt_before(monkeypatch, step)
        with pytest.raises(Interrupted):
            train(override(RunFolder(run).recipe(), {"data.workers": workers}), resume=run, progress=False)
    monkeypatch.undo()
    train(resume=run, progress=False)
    assert_same_run(run, whole)


def test_an_interruption_while_validating_is_taken_up_there(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = loop.validate

    def interrupted(job: Job, *args):
        if job.state.epoch == 1:
            signal.raise_signal(signal.SIGTERM)
        return validate(job, *args)

    monkeypatch.setattr(loop, "validate", interrupted)
    with pytest.raises(Interrupted) as raised:
        train(tiny(), folder=tmp_path / "run", progress=False)
    assert raised.value.exit_code == 143
    assert len(RunFolder(tmp_path / "run").metrics()) == 1
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 4)
    monkeypatch.undo()
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", whole)


class Killed(BaseException):
    """A power cut: nothing may be saved after it."""


@pytest.mark.parametrize("save_steps", [None, 3])
def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(whole: Path, tmp_path: Path, monkeypatch, save_steps: int | None) -> None:

    def killed(job: Job, *args):
        if job.state.step == 7:
            raise Killed
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", killed)
    with pytest.raises(Killed):
        train(tiny(training__save_steps=save_steps), folder=tmp_path / "run", progress=False)
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 3 if save_steps else 0)
    monkeypatch.undo()
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", whole)


def test_killed_before_the_checkpoint_the_epochs_row_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args):
        raise Killed

    write_checkpoint = "senet.training.saving.write_checkpoint"
    monkeypatch.setattr(write_checkpoint, killed)
    with pytest.raises(Killed):
        train(tiny(), folder=tmp_path, progress=False)
    assert len(RunFolder(tmp_path).metrics()) == 1
    monkeypatch.undo()
    train(resume=tmp_path, progress=False)
    assert [row["epoch"] for row in RunFolder(tmp_path).metrics()] == [1, 2, 3]


def first_tally(state: dict[str, Any]) -> dict[str, Any]:
    """Return a tally as format 1 had it: loss, and hits in place of sums of percents."""
    loss, percent = state["tally"]["sums"].values()
    assert loss > 0
    assert percent > 0
    return {"loss": loss, "hits": int(percent) // 100, "images": state["tally"]["images"], "seconds": state["tally"]["seconds"]}


def as_written_before(version: int, run: RunFolder) -> None:
    """Write a run's checkpoint and recipe anew as they were when each format was new: 1 and 2 as plain archives, without an origin."""
    state = torch.load(run.checkpoint, weights_only=True)
    for row in (*state["rows"], state["best"]):
        row.pop("skipped", None)
    later = {"senet", "best_told", "skipped", "parts"} | ({"origin", "changes"} if version < 3 else set())
    state = {name: value for name, value in state.items() if name not in later}
    recipe = (run.path / "recipe.yaml").read_text()
    if version == 1:
        state["tally"] = first_tally(state)
        (run.path / "recipe.yaml").write_text(recipe.replace("task: classification\n", ""))
    file = io.BytesIO()
    torch.save(state | {"format": version}, file)
    seal = trailer(hashlib.sha256(file.getvalue()).hexdigest()) if version == 3 else b""
    run.checkpoint.write_bytes(file.getvalue() + seal)
    (run.path / "previous.ckpt").unlink()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_checkpoints_of_earlier_versions_are_taken_up(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: int
) -> None:
    interrupt_before(monkeypatch, step=6)
    with pytest.raises(Interrupted):
        train(tiny(), folder=tmp_path / "run", progress=False)
    monkeypatch.undo()
    run = RunFolder(tmp_path / "run")
    as_written_before(version, run)
    train(resume=run.path, progress=False)
    assert_same_run(run.path, whole)
    assert ("is of an earlier version: nothing in it tells" in caplog.text) == (version < 3)


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    train(tiny(training__epochs=1), folder=tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="is finished: 1 epochs"):
        train(resume=tmp_path, progress=False)
    with pytest.raises(UsageError, match="holds a finished run"):
        train(tiny(training__epochs=1), folder=tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_whose_last_words_were_cut_off_only_says_them(tmp_path: Path) -> None:
    train(tiny(training__epochs=1), folder=tmp_path, progress=False)
    checkpoint, result = (tmp_path / "last.ckpt").read_bytes(), RunFolder(tmp_path).result()
    (tmp_path / "result.json").unlink()
    assert train(resume=tmp_path, progress=False) == result
    assert (tmp_path / "last.ckpt").read_bytes() == checkpoint


LONG = {"training__epochs": 5, "data__batch_size": 64}
"""A run that a signal from another process can still interrupt."""


@pytest.fixture(scope="module")
def long_whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a long run that never stopped."""
    folder = tmp_path_factory.mktemp("long") / "run"
    torch.set_num_threads(1)
    train(tiny(**LONG), folder=folder, progress=False)
    return folder


@pytest.mark.parametrize(("signum", "code", "workers"), [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 0)], ids=["INT", "TERM"])
def test_the_command_stops_on_a_real_signal_and_the_run_goes_on(
    long_whole: Path, tmp_path: Path, signum: int, code: int, workers: int
) -> None:
    recipe = tiny(**LONG, data__workers=workers)
    (tmp_path / "tiny.yaml").write_text(recipe.to_yaml())
    command = [sys.executable, "-m", "senet.cli.main", "train", "tiny.yaml", "--folder", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    run = RunFolder(tmp_path / "run")
    deadline = time.monotonic() + 120
    while not run.metrics() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signum)  # as a terminal or a scheduler does: to the loader's workers, too
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1].endswith("go on with `senet train --resume run`"), err
    assert "Traceback" not in err
    assert not run.is_finished()
    train(resume=run.path, progress=False)
    assert_same_run(run.path, long_whole)


def test_a_command_that_is_repeated_begins_goes_on_and_is_done(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train_until(5, tiny(), tmp_path / "run")
    Path("tiny.yaml").write_text(tiny().to_yaml())
    command = ["train", "tiny.yaml", "--folder", "run", "--quiet"]
    assert main(command) == 2, "holds an unfinished run"
    assert main([*command, "--or-resume"]) == 0
    assert_same_run(tmp_path / "run", whole)
    monkeypatch.setattr(loop, "prepare", lambda *args: pytest.fail("it is done"))
    assert main([*command, "--or-resume"]) == 0
    assert main([*command, "--or-resume", "--optim.lr", "0.05"]) == 2, "another run lies there"


def test_a_command_that_may_go_on_begins_where_there_is_nothing(tmp_path: Path) -> None:
    recipe = tiny(training__epochs=1)
    assert train(recipe, folder=tmp_path / "run", or_resume=True, progress=False).epochs == 1
