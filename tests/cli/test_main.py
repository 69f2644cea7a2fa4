"""The dispatcher and the commands that need no training."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from senet.cli.main import COMMANDS, main
from senet.recipe import list_recipes, load_recipe


def run(*words: str) -> int:
    return main(list(words))


def test_help_names_every_command(capsys: pytest.CaptureFixture) -> None:
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    assert run() == 2
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modles"], "unknown command 'modles' (did you mean 'models'?)"),
        (["models", "se_resnet5"], "no model matches 'se_resnet5' (did you mean 'se_resnet50'?)"),
        (["models", "--jsn"], "unknown flag '--jsn' (did you mean '--json'?)"),
        (["export", "resnet5", "--to", "x.onnx"], "unknown model 'resnet5' (did you mean 'resnet50'?); `senet models` lists all"),
        (["profile", "resnet5"], "unknown model 'resnet5' (did you mean 'resnet50'?); `senet models` lists all"),
        (["recipes", "show", "digts"], "unknown recipe 'digts' (did you mean 'digits'?)"),
        (["recipes", "show"], "needs a name"),
        (["train", "nowhere.yaml"], "no recipe file 'nowhere.yaml'"),
        (["train", "digits", "--optim.lrr", "1"], "unknown flag '--optim.lrr' (did you mean '--optim.lr'?)"),
        (["train", "digits", "--lr", "fast"], "optim.lr: expected float, got fast"),
        (["train", "digits", "--lr"], "--lr needs a value"),
        (["train", "digits", "--data.flip", "maybe"], "data.flip: expected bool, got maybe"),
        (["train", "digits", "again"], "one word too many: 'again'"),
        (["train", "--out"], "--out: expected one argument; --help says more"),
        (["bench", "resnet50", "--rounds", "few"], "--rounds: invalid int value: 'few'; --help says more"),
        (["bench", "resnet50", "--round", "3"], "unknown flag '--round' (did you mean '--rounds'?)"),
        (["recipes", "lst"], "action: invalid choice: 'lst' (choose from"),
        (["convert", "file.pth"], "the following arguments are required: --to; --help says more"),
    ],
)
def test_wrong_words_get_one_line(words: list[str], message: str, refused: Callable[..., str]) -> None:
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def task(recipe):\n    raise ValueError('one\\n  two')", "senet train: ValueError: one two (mine.py, line 2)"),
        ("import no_such_library\n", "senet train: ModuleNotFoundError: No module named 'no_such_library' (mine.py, line 1)"),
        ("def task(:\n", "senet train: SyntaxError: invalid syntax (mine.py, line 1)"),
    ],
    ids=["exception", "import", "syntax"],
)
def test_an_error_of_a_users_file_is_one_line_that_says_where(
    code: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mine.py").write_text(code)
    assert run("train", "digits", "--task", f"{tmp_path}/mine.py:task", "--folder", str(tmp_path / "run")) == 1
    assert capsys.readouterr().err == f"{message}\n"


@pytest.mark.parametrize("command", [["eval"], ["predict", "image.png", "--weights"]], ids=["eval", "predict"])
def test_a_device_is_checked_first(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from senet.models.create import create_model
    from senet.weights.store import save_weights

    save_weights(create_model("cifar_resnet20"), tmp_path / "net.safetensors")
    data = ["--data.name", "digits"] if command == ["eval"] else []
    assert run(*command, str(tmp_path / "net.safetensors"), "--device", "foo", *data) == 2
    assert "unknown device 'foo'; allowed: cpu" in capsys.readouterr().err


def test_a_copy_into_a_folder_that_is_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("recipes", "copy", "digits", str(tmp_path / "missing" / "mine.yaml")) == 2
    assert "No such file or directory; give a file in a folder that is there" in capsys.readouterr().err


def test_short_numbers_are_numbers() -> None:
    from senet.cli.arguments import add_recipe, command_parser, recipe_of

    parser = command_parser("senet train", "train")
    add_recipe(parser)
    recipe = recipe_of(parser.words(["digits", "--lr", "1e-4", "--optim.weight_decay=-0.0", "--name", "[mine"]))
    assert (recipe.optim.lr, recipe.name) == (1e-4, "[mine")


def test_help_says_defaults_that_say_something(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run("bench", "--help")
    assert ended.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "interleaved rounds (default: 11)" in words
    assert "(default: None)" not in words
    assert "(default: False)" not in words


def test_models_as_json(capsys: pytest.CaptureFixture) -> None:
    assert run("models", "*resnet50", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert rows["se_resnet50"]["parameters"] == 28_088_024
    assert rows["se_resnet50"]["block_parameters"] == 2_530_992
    assert rows["se_resnet50"]["blocks"] == 16


def test_recipes_are_listed_with_what_they_are(capsys: pytest.CaptureFixture) -> None:
    assert run("recipes", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == set(list_recipes())


def test_a_copied_recipe_is_the_recipe_and_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    copy = tmp_path / "mine.yaml"
    assert run("recipes", "copy", "digits", str(copy)) == 0
    assert load_recipe(copy) == load_recipe("digits")
    copy.write_text("seed: 3\n")
    assert run("recipes", "copy", "digits", str(copy)) == 2
    assert copy.read_text() == "seed: 3\n"
    assert "not overwritten" in capsys.readouterr().err


def test_the_resolved_recipe_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("recipes", "show", "digits", "--resolved") == 0
    copy = tmp_path / "resolved.yaml"
    copy.write_text(capsys.readouterr().out)
    assert load_recipe(copy) == load_recipe("digits")


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture) -> None:
    assert run("models", "nothing", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [sys.executable, "-m", "senet.cli.main", "models", "resnet18"]
        result = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")
