"""`senet train`, `senet eval` and `senet predict` as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from senet.cli.main import main

FLAGS = ("--epochs", "1", "--batch_size", "512")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two finished runs of one epoch: a and b."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate("ab"):
        assert main(["train", *FLAGS, "--seed", str(seed), "--folder", str(folder / name), "--quiet"]) == 0
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_train_prints_a_table_to_stdout_and_progress_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("train", *FLAGS, "--out", tmp_path) == 0
    out, err = capsys.readouterr()
    assert "top-1 %" in out
    assert "epoch 1/1" in err
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("digits-")


def test_train_as_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("train", "digits", *FLAGS, "--folder", tmp_path / "run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == 1
    assert found["folder"] == str(tmp_path / "run")
    assert found["final"]["val_top1"] == found["top1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", *FLAGS, "--folder", "a"], "'a' holds a finished run"),
        (["train", "--resume", "a"], "the run in 'a' is finished: 1 epochs"),
        (["train", "--resume", "c"], "'c' is not the folder of a run"),
        (["train", "digits", "--resume", "a"], "--resume a brings its own recipe: leave out 'digits'"),
        (["train", "--epochs", "many"], "training.epochs: expected int, got many"),
        (["train", "--optim.lr", "-1", "--folder", "c"], "optim.lr must be between 0 and"),
        (["train", "--data.name", "folder"], "folder needs --data.root"),
        (["train", "--data.name", "folder", "--data.root", "nowhere"], "'nowhere' is not a folder"),
        (["eval", "nothing.safetensors"], "'nothing.safetensors' does not exist"),
        (["eval", "a", "--optim.lr", "1"], "an evaluation has no field 'optim.lr'"),
        (["eval", "a", "--scales", "8,x"], "--scales must be numbers of pixels"),
        (["eval", "a", "--scales", "4"], "scale 4 is below the crop's size 8"),
        (["eval", "a", "--crops", "tne"], "unknown crops 'tne' (did you mean 'ten'?)"),
        (["predict", "image.png"], "give --weights"),
        (["predict", "image.png", "--weights", "a", "--top-k", "0"], "top_k must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(
    runs: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(runs)
    assert message in refused(*words)
    assert {path.name for path in runs.iterdir()} == {"a", "b"}


def test_eval_repeats_what_training_found(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("eval", runs / "a", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    trained = json.loads((runs / "a" / "result.json").read_text())
    assert [found[name] for name in ("top1", "top5")] == [trained[name] for name in ("top1", "top5")]
    assert found["loss"] == pytest.approx(trained["loss"], rel=1e-5)


def test_eval_averages_several_runs_over_views(runs: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("eval", runs / "a", runs / "b" / "best.safetensors", "--crops", "ten", "--scales", "8,10", "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"] > 0
    assert run("eval", runs / "a", "--size", "16", "--quiet") == 0
    assert "top-1 error %" in capsys.readouterr().out


def test_predict_names_what_it_sees_and_says_what_it_cannot_read(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray((load_digits().images[0] * 15.9).astype("uint8")).save(tmp_path / "digit.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert run("predict", tmp_path / "digit.png", "--weights", runs / "a", "--weights", runs / "b", "--top-k", "3") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'digit.png'}: ")
    assert out.count(" %") == 3
    assert run("predict", tmp_path / "broken.png", tmp_path / "digit.png", "--weights", runs / "a", "--json") == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"cannot read {tmp_path / 'broken.png'}: ")
    assert err.count("\n") == 1
    broken, good = json.loads(out)["predictions"]
    assert broken["error"] is not None
    assert len(good["guesses"]) == 5
