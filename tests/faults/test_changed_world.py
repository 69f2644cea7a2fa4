"""A run goes on with what it began with, or says in one line what is another; a user may go on all the same."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from made_runs import assert_same_run, without_times
from senet.cli.main import main
from senet.data import source as sources
from senet.data.delivery import DataError
from senet.errors import UsageError
from senet.recipe import build_recipe, override
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.checkpoint import read_checkpoint, write_checkpoint
from senet.training.job import Job
from senet.training.loop import train
from senet.training.step import train_step

CLASSES = ("cat", "dog", "owl")
TASK = "from senet.tasks.classification import Classification\ndef task(recipe):\n    return Classification()\n"


class Killed(BaseException):
    """A power cut."""


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run on a folder of images that was killed in its second epoch; its files are in the working directory."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in CLASSES:
            for index in range(4):
                path = Path("data", split, name, f"{index}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    Path("own.py").write_text(TASK)
    tree = {
        "name": "pets",
        "task": "own.py:task",
        "model": {"name": "cifar_resnet20", "block": "se"},
        "data": {"name": "folder", "root": "data", "image_size": 8, "eval_resize": 8, "batch_size": 4, "workers": 0},
        "training": {"epochs": 3, "save_steps": 1},
    }
    Path("pets.yaml").write_text(build_recipe(tree).to_yaml())

    def killed(job: Job, *args):
        if job.state.step == 5:
            raise Killed
        return train_step(job, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", killed)
        with pytest.raises(Killed):
            train("pets.yaml", folder="run", progress=False)
    return RunFolder(Path("run"))


def rename_class() -> None:
    for split in ("train", "val"):
        Path("data", split, "cat").rename(Path("data", split, "zebra"))


def add_class() -> None:
    for split in ("train", "val"):
        folder = Path("data", split, "ant")
        folder.mkdir()
        (folder / "0.png").write_bytes(Path("data", split, "cat", "0.png").read_bytes())


def edit_recipe(**fields: tuple[str, str]) -> Callable[[], None]:
    def edit() -> None:
        path = Path("run", "recipe.yaml")
        text = path.read_text()
        for name, (before, after) in fields.items():
            assert f"  {name}: {before}\n" in text or f"{name}: {before}\n" in text
            text = text.replace(f"{name}: {before}\n", f"{name}: {after}\n")
        path.write_text(text)

    return edit


CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "class renamed": (rename_class, "class 0 was 'cat', is 'dog'; class 1 was 'dog', is 'owl'; class 2 was 'owl', is 'zebra'"),
    "image added": (lambda: Image.new("RGB", (8, 8)).save("data/train/cat/9.png"), "training images were 12, are 13"),
    "image removed": (lambda: Path("data/val/cat/3.png").unlink(), "validation images were 12, are 11"),
    "image renamed": (lambda: Path("data/val/cat/3.png").rename("data/val/cat/8.png"), "the list of the 12 validation images is another"),
    "image replaced": (lambda: Image.new("RGB", (8, 8)).save("data/train/owl/0.png"), "the list of the 12 training images is another"),
    "learning rate": (edit_recipe(lr=("0.1", "0.05")), "optim.lr was 0.1, is 0.05"),
    "seed and batch": (edit_recipe(seed=("0", "7"), batch_size=("4", "6")), "data.batch_size was 4, is 6; seed was 0, is 7"),
    "epochs": (edit_recipe(epochs=("3", "4")), "training.epochs was 3, is 4"),
    "augmentation": (edit_recipe(flip=("false", "true")), "data.flip was False, is True"),
    "code": (lambda: Path("own.py").write_text(TASK.replace("()\n", "(0.1)\n")), "own.py was edited"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_in_one_line_and_taken_back_it_goes_on(begun: RunFolder, name: str, capsys: pytest.CaptureFixture) -> None:
    change, words = CHANGES[name]
    before = begun.checkpoint.read_bytes()
    change()
    assert main(["train", "--resume", "run", "--quiet"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("runs ")]  # what of a user's files is run
    assert len(told) == 1, told
    assert f"'run' cannot go on as it began: {words}" in told[0]
    assert "put that back, or add --accept-changes" in told[0]
    assert begun.checkpoint.read_bytes() == before


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_accepted_aloud_and_stands_in_the_result(begun: RunFolder, name: str, caplog: pytest.LogCaptureFixture) -> None:
    change, words = CHANGES[name]
    change()
    with caplog.at_level(logging.WARNING):
        result = train(resume="run", accept_changes=True, progress=False)
    first = words.split("; ")[0]
    assert f"run: {first}" in caplog.text
    assert any(line.startswith(f"epoch 2: {first}") for line in result.changes)
    assert begun.result() == result
    assert begun.metrics()[-1]["epoch"] == begun.recipe().training.epochs


def test_new_values_take_effect(begun: RunFolder) -> None:
    edit_recipe(lr=("0.1", "0.05"), momentum=("0.9", "0.5"))()
    train(resume="run", accept_changes=True, progress=False)
    assert [row["lr"] for row in begun.metrics()] == [0.1, 0.05, 0.05]
    (group,) = torch.load(begun.checkpoint, weights_only=True)["optimizer"]["param_groups"]
    assert (group["lr"], group["momentum"]) == (0.05, 0.5)


def test_half_an_epoch_of_another_order_is_begun_anew(begun: RunFolder) -> None:
    edit_recipe(batch_size=("4", "6"))()
    train(resume="run", accept_changes=True, progress=False)
    assert [row["step"] for row in begun.metrics()] == [3, 4, 6]


def test_another_number_of_classes_does_not_fit_whatever_is_accepted(begun: RunFolder) -> None:
    add_class()
    with pytest.raises(UsageError, match="there were 3 classes, are 4; training images were 12, are 13"):
        train(resume="run", progress=False)
    with pytest.raises(
        UsageError, match=r"last.ckpt: model.fc.weight does not fit the run: it needs float32 of shape \(4, 64\), got .*3, 64"
    ):
        train(resume="run", accept_changes=True, progress=False)


def test_what_changes_no_weight_may_change(begun: RunFolder) -> None:
    Path("data").rename("elsewhere")
    edit_recipe(root=("data", "elsewhere"), save_steps=("1", "2"), name=("pets", "animals"))()
    assert train(resume="run", progress=False).changes == ()


def test_a_run_of_an_earlier_version_goes_on_and_says_what_it_cannot_tell(begun: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    state = torch.load(begun.checkpoint, weights_only=True)
    del state["origin"], state["changes"]
    torch.save(state | {"format": 2}, begun.checkpoint)
    for name in ("origin.json", "previous.ckpt"):
        (begun.path / name).unlink()
    assert train(resume="run", progress=False).changes == ()
    assert "run/last.ckpt is of an earlier version: nothing in it tells" in caplog.text


def test_a_longer_run_is_the_flag_that_the_line_names(begun: RunFolder, capsys: pytest.CaptureFixture) -> None:
    train(resume="run", progress=False)
    train("pets.yaml", folder="longer", progress=False)
    Path("longer.yaml").write_text(Path("pets.yaml").read_text().replace("epochs: 3", "epochs: 4"))
    train("longer.yaml", folder="longer4", progress=False)
    assert main(["train", "--resume", "run", "--epochs", "4", "--quiet"]) == 2
    assert "to train it longer: --resume run --epochs N --accept-changes" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--epochs", "4", "--accept-changes", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["epochs"], found["changes"]) == (4, ["epoch 4: training.epochs was 3, is 4"])
    assert without_times(begun.metrics()) == without_times(RunFolder(Path("longer4")).metrics())  # the rate is constant
    assert main(["train", "--resume", "run", "--epochs", "2", "--accept-changes", "--quiet"]) == 2
    assert "is finished: 4 epochs" in capsys.readouterr().err


def test_unchanged_it_is_the_run_that_never_stopped(begun: RunFolder) -> None:
    train(resume="run", progress=False)
    train("pets.yaml", folder="whole", progress=False)
    assert_same_run(begun.path, Path("whole"))


@pytest.fixture
def vanishing(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file of the data that is gone from the second step on."""
    path = Path("data/train/owl/0.png")

    def step(job: Job, *args):
        if job.state.step == 1:
            path.unlink(missing_ok=True)
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", step)
    return path


def test_a_file_that_vanishes_meanwhile_is_replaced_named_and_counted(
    begun: RunFolder, vanishing: Path, capsys: pytest.CaptureFixture
) -> None:
    train(override(begun.recipe(), {"data.max_corrupt": 0.1}), folder="allowed")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cannot read")]
    assert line == "cannot read train/owl/0.png (No such file or directory); another image takes its place"
    rows = RunFolder(Path("allowed")).metrics()
    assert [row["step"] for row in rows] == [3, 6, 9]
    assert rows[-1]["corrupt"] == 1


def test_more_than_is_allowed_ends_the_run_which_goes_on_once_the_file_is_back(
    begun: RunFolder, vanishing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = vanishing.read_bytes()
    with pytest.raises(DataError, match=r"1 of 24 images cannot be read, more than data.max_corrupt 0.001 allows.*\n.*owl/0\.png"):
        train("pets.yaml", folder="short", progress=False)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    vanishing.write_bytes(content)
    train(resume="short", progress=False)
    train("pets.yaml", folder="whole", progress=False)
    assert_same_run(Path("short"), Path("whole"))


def test_a_source_of_ones_own_tells_its_version(begun: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    files = type(sources.open_data(begun.recipe().data).train)
    monkeypatch.setattr(files, "fingerprint", lambda images: "version 2", raising=False)
    with pytest.raises(UsageError, match="the list of the 12 training images is another"):
        train(resume="run", progress=False)


def test_another_number_of_processes_is_refused_unless_accepted(begun: RunFolder) -> None:
    saved = read_checkpoint(begun.checkpoint)
    write_checkpoint(begun, {**saved, "origin": {**saved["origin"], "processes": 2}})
    with pytest.raises(UsageError, match="cannot go on as it began: processes were 2, are 1; put that back, or add --accept-changes"):
        train(resume="run", progress=False)
    assert train(resume="run", accept_changes=True, progress=False).changes == ("epoch 2: processes were 2, are 1",)


def test_accept_changes_needs_a_run(begun: RunFolder, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "digits", "--accept-changes"]) == 2
    assert "it needs --resume RUN" in capsys.readouterr().err
