"""What a run left and somebody or something damaged is named in one line, never used in silence."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import senet.comparison.measure as measure
from made_runs import assert_same_run, tiny
from senet.cli.main import main
from senet.comparison import compare
from senet.errors import UsageError
from senet.results.run_folder import FILES, RunFolder
from senet.results.run_lock import LOCK
from senet.results.sums import SUMS
from senet.training import loop
from senet.training.checkpoint import read_checkpoint
from senet.training.job import Job
from senet.training.loop import train
from senet.training.state import TrainingState
from senet.training.step import train_step
from senet.weights.store import read_metadata

RECIPE = tiny(training__epochs=2)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def replace_text(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the place of a comparison of one seed that is done."""
    out = tmp_path_factory.mktemp("compared")
    torch.set_num_threads(1)
    for label, block in (("plain", None), ("se", "se")):
        recipe = tiny(training__epochs=2, model__block=block)
        train(recipe, folder=out / "compare-tiny" / f"{label}-seed0-{recipe.digest()}", progress=False)
    return out


@pytest.fixture
def out(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, and see to it that nothing is trained or measured."""
    shutil.copytree(compared / "compare-tiny", tmp_path / "compare-tiny")

    def unwanted(*args, **kwargs):
        raise AssertionError("nothing may be trained or measured")

    monkeypatch.setattr("senet.comparison.worker.train", unwanted)
    return tmp_path


def no_sums(run: Path) -> None:
    (run / SUMS).unlink()


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "metrics without the last row": (
        lambda run: (run / "metrics.csv").write_text("\n".join((run / "metrics.csv").read_text().splitlines()[:-1]) + "\n"),
        r"metrics.csv is not what the run wrote, by its checksum",
    ),
    "metrics missing": (lambda run: (run / "metrics.csv").unlink(), r"metrics.csv is missing"),
    "metrics, one digit": (lambda run: flip(run / "metrics.csv", 130), r"metrics.csv is not what the run wrote"),
    "result, one digit": (lambda run: flip(run / "result.json", 60), r"result.json is not what the run wrote"),
    "result empty": (lambda run: (run / "result.json").write_text(""), r"result.json is not what the run wrote"),
    "environment": (lambda run: (run / "environment.json").write_text("{}"), r"environment.json is not what the run wrote"),
    "origin": (lambda run: rewrite(run / "origin.json", classes=["0"]), r"origin.json is not what the run wrote"),
    "sums": (lambda run: (run / SUMS).write_text("nothing\n"), r"SHA256SUMS is damaged"),
    "sums, elsewhere": (lambda run: (run / SUMS).write_text(f"{'0' * 64}  ../../x\n"), r"SHA256SUMS is damaged"),
    "weights, one bit": (lambda run: flip(run / "best.safetensors", -5), r"best.safetensors' is damaged"),
    "weights missing": (lambda run: (run / "best.safetensors").unlink(), r"best.safetensors' does not exist"),
    "recipe": (lambda run: replace_text(run / "recipe.yaml", "lr: 0.1", "lr: 0.2"), "its recipe.yaml is no longer that of this variant"),
}
UNSEALED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "metrics without the last row": (DAMAGE["metrics without the last row"][0], r"not one row for each of the 2 epochs"),
    "metrics missing": (DAMAGE["metrics missing"][0], r"not one row for each of the 2 epochs"),
    "metrics, a word": (lambda run: replace_text(run / "metrics.csv", "\n2,", "\ntwo,"), r"metrics.csv is damaged: line 3 is no row"),
    "metrics, half a row": (
        lambda run: (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes()[:-40]),
        r"metrics.csv is damaged",
    ),
    "metrics, bytes": (lambda run: (run / "metrics.csv").write_bytes(b"\xff\x00"), r"metrics.csv is damaged"),
    "metrics, last value": (
        lambda run: replace_text(run / "metrics.csv", "\n2,8,0.1", "\n2,8,0.2"),
        r"metrics.csv and result.json differ in lr",
    ),
    "result, no JSON": (lambda run: (run / "result.json").write_text('{"epochs": 2'), r"result.json is damaged .*not JSON"),
    "result, list": (lambda run: (run / "result.json").write_text("[]"), r"result.json is damaged .*a mapping"),
    "result, NaN": (
        lambda run: rewrite(run / "result.json", loss=float("nan")),
        r"result.json is damaged .*loss: expected a finite number",
    ),
    "result, nested": (lambda run: (run / "result.json").write_text("[" * 10**5), r"nested too deeply"),
    "result, no final": (lambda run: rewrite(run / "result.json", final={}), r"result.json is damaged .*missing"),
    "result, no metric": (lambda run: rewrite(run / "result.json", about=[]), r"result.json is damaged .*about"),
    "environment": (lambda run: (run / "environment.json").write_text("{}"), r"environment.json: 'started' is missing"),
    "environment missing": (lambda run: (run / "environment.json").unlink(), r"environment.json cannot be read"),
    "origin, no JSON": (lambda run: (run / "origin.json").write_text("{"), r"origin.json: not JSON"),
    "origin, other classes": (
        lambda run: rewrite(run / "origin.json", classes=[*"012345678", "ten"]),
        r"it was made of something else: class 9 was 'ten', is '9'",
    ),
    "origin, two processes": (
        lambda run: rewrite(run / "origin.json", processes=2),
        r"it was made of something else: processes were 2, are 1",
    ),
}


@pytest.mark.parametrize(
    ("damage", "message", "sealed"),
    [*((*entry, True) for entry in DAMAGE.values()), *((*entry, False) for entry in UNSEALED.values())],
    ids=[*DAMAGE, *(f"{name}, no sums" for name in UNSEALED)],
)
def test_a_damaged_run_is_not_compared(out: Path, damage: Callable[[Path], Any], message: str, sealed: bool) -> None:
    (run,) = (out / "compare-tiny").glob("se-*")
    if not sealed:
        no_sums(run)
    damage(run)
    with pytest.raises(UsageError, match=rf"{run} cannot be compared: .*{message}.*; remove that folder to train it again") as raised:
        compare(RECIPE, seeds=1, out=out, progress=False)
    assert "\n" not in str(raised.value)


def test_runs_as_they_were_are_compared_and_those_of_an_earlier_version_aloud(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    first = compare(RECIPE, seeds=1, out=out, progress=False, report=False)
    assert caplog.text == ""
    for run in (out / "compare-tiny").glob("*-seed0-*"):
        no_sums(run)
        (run / "origin.json").unlink()
    with caplog.at_level(logging.WARNING):
        second = compare(RECIPE, seeds=1, out=out, progress=False, report=False)
    assert "do not say of which images they were made; they are used as they are" in caplog.text
    assert [variant.runs for variant in first.variants] == [variant.runs for variant in second.variants]


@pytest.mark.parametrize("words", [["eval", "RUN"], ["predict", "x.png", "--weights", "RUN"], ["export", "RUN", "--to", "x.onnx"]])
def test_weights_of_a_run_that_are_not_what_was_written_are_not_used(
    out: Path, words: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = (out / "compare-tiny").glob("se-*")
    monkeypatch.chdir(out)
    flip(run / "best.safetensors", -5)
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert "best.safetensors' is damaged: it is not what was written" in err
    assert err.count("\n") == 1


class Killed(BaseException):
    """A power cut."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was killed in its third epoch."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("killed") / "run"

    def step(job: Job, *args):
        if job.state.step == 9:
            raise Killed
        return train_step(job, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", step)
        with pytest.raises(Killed):
            train(tiny(), folder=folder, progress=False)
    return folder


@pytest.fixture
def begun(killed: Path, tmp_path: Path) -> RunFolder:
    """Return a copy of it."""
    torch.set_num_threads(1)
    return RunFolder(shutil.copytree(killed, tmp_path / "run"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the run that was never hurt."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(tiny(), folder=folder, progress=False)
    return folder


@pytest.mark.parametrize(
    "damage",
    [lambda path: flip(path, 100_000), lambda path: path.write_bytes(b""), lambda path: path.unlink()],
    ids=["bit", "empty", "missing"],
)
def test_from_a_damaged_checkpoint_it_goes_on_from_the_one_before_to_the_same_end(
    begun: RunFolder, whole: Path, damage: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    damage(begun.checkpoint)
    with caplog.at_level(logging.WARNING):
        train(resume=begun.path, progress=False)
    assert "going on from previous.ckpt" in caplog.text
    assert_same_run(begun.path, whole)


@pytest.mark.parametrize("name", [name for name in (LOCK, *FILES) if name != "recipe.yaml"])
def test_a_folder_in_the_place_of_a_file_is_one_line_before_any_step(begun: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = begun.path / name
    place.unlink(missing_ok=True)
    place.mkdir()
    monkeypatch.setattr(loop, "train_step", lambda *args: pytest.fail("a step was taken"))
    with pytest.raises(UsageError, match=f"^cannot write {place}: a folder stands there; move it away$"):
        train(resume=begun.path, progress=False)


@pytest.mark.parametrize("damage", [lambda path: flip(path, -5), lambda path: path.unlink()], ids=["bit", "missing"])
def test_best_weights_that_are_lost_are_forgotten_only_if_accepted(begun: RunFolder, damage: Callable[[Path], Any]) -> None:
    damage(begun.weights)
    with pytest.raises(
        UsageError, match=r"the best weights of .* are lost: .*; put them back from a copy, or forget the best epoch: --acc"
    ):
        train(resume=begun.path, progress=False)
    result = train(resume=begun.path, accept_changes=True, progress=False)
    assert result.best_epoch == 3
    assert result.changes[0].startswith("epoch 3: the weights of epoch ")


def test_the_best_weights_are_those_that_the_result_tells_also_after_an_end_before_their_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch that the weights are of is taken again, with another end: at a rate at which nothing is learnt."""
    recipe, run = tiny(training__epochs=4), RunFolder(tmp_path / "run")
    begin_save = TrainingState.begin_save

    def ended(state: TrainingState, run: RunFolder) -> None:
        if state.epoch == 3:
            raise ZeroDivisionError
        begin_save(state, run)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "begin_save", ended)
        with pytest.raises(ZeroDivisionError):
            train(recipe, folder=run.path, progress=False)
    assert read_metadata(run.weights).extra["epoch"] == 3
    assert read_checkpoint(run.checkpoint)["epoch"] == 2
    result = train(tiny(training__epochs=4, optim__lr=3.0), resume=run.path, accept_changes=True, progress=False)
    assert read_metadata(run.weights).extra["epoch"] == result.best_epoch > 2
    assert read_metadata(run.weights).extra["val_top1"] == pytest.approx(result.metrics["top1"])


def test_a_damaged_result_of_a_finished_run_is_one_line_and_can_be_written_again(begun: RunFolder) -> None:
    result = train(resume=begun.path, progress=False)
    path = begun.path / "result.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"result.json is damaged \(remove it, and --resume writes it again\)"):
        train(resume=begun.path, progress=False)
    path.unlink()
    assert train(resume=begun.path, progress=False) == result
