"""`senet allocate`: from a trained run to recipes of other widths, their training and their comparison."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import senet
from made_runs import tiny
from senet.cli.main import main
from senet.recipe import load_recipe
from senet.training.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run whose blocks have 8, 16 and 32 hidden units."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = tiny(model__name="se_cifar_resnet20", model__block="auto", model__reduction=2, training__epochs=1)
    train(recipe, folder=folder, progress=False)
    return folder


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["allocate", *words, "--quiet", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_widths_become_recipes_that_are_trained_and_compared(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, weights = tmp_path / "narrow.yaml", tmp_path / "narrow.safetensors"
    files = ["--out", str(recipe), "--weights", str(weights)]
    found = told(capsys, str(run), "--params", "0.3", "--of", "blocks", *files)
    assert [block["hidden"]["before"] for block in found["blocks"]] == [8] * 3 + [16] * 3 + [32] * 3
    assert found["measured"]["images"] == 298  # half of 597
    assert found["measured"]["loss"]["points"] == pytest.approx(found["measured"]["before"] - found["measured"]["after"])

    narrow: Any = senet.from_pretrained(weights)
    hidden = [block.hidden for block in narrow.modules() if isinstance(block, senet.ChannelSE)]
    assert hidden == [block["hidden"]["after"] for block in found["blocks"]]
    assert parameters(narrow) == found["parameters"]["after"]
    allocated, uniform = load_recipe(recipe), load_recipe(tmp_path / "narrow_uniform.yaml")
    assert (allocated.name, uniform.name) == ("tiny_allocated", "tiny_uniform")
    block: Any = allocated.model.block
    fresh = senet.create_model(allocated.model.name, block=block, in_channels=1, device="meta")
    assert parameters(fresh) == found["parameters"]["after"]
    block = uniform.model.block
    assert block == senet.BlockSpec("se", reduction=found["uniform"]["reduction"])
    twin = senet.create_model(uniform.model.name, block=block, in_channels=1, device="meta")
    assert parameters(twin) == found["uniform"]["parameters"]

    assert main(["eval", str(weights), "--quiet", "--json"]) == 0  # the file says on which images, and the widths
    capsys.readouterr()
    assert main(["train", str(recipe), "--epochs", "1", "--model.weights", str(weights), "--out", str(tmp_path / "trained")]) == 0
    capsys.readouterr()
    command = shlex.split(found["compare"])
    assert command[:3] == ["senet", "compare", str(recipe)]
    command[command.index("--seeds") + 1] = "1"
    assert main([*command[1:], "--epochs", "1", "--out", str(tmp_path / "runs"), "--no-report", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    labels = [variant["label"] for variant in result["variants"]]
    assert labels == [f"SE reduction={found['uniform']['reduction']}", f"SE hidden={min(hidden)}..{max(hidden)} by unit"]


def test_whole_blocks_go(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--out", str(tmp_path / "few.yaml"), "--weights", str(tmp_path / "few.safetensors")]
    found = told(capsys, str(run), "--params", "0.03", "--of", "blocks", "--drop", *files)
    gone = [block for block in found["blocks"] if not block["hidden"]["after"]]
    assert 0 < len(gone) < 9
    few: Any = senet.from_pretrained(tmp_path / "few.safetensors")
    assert sum(isinstance(block, senet.ChannelSE) for block in few.modules()) == 9 - len(gone)
    recipe = load_recipe(tmp_path / "few.yaml")
    assert len(recipe.model.options["omitted"]) == len(gone)
    assert "model.block+model.options.omitted=" in found["compare"]
    from senet.comparison.variants import expand, parse_vary

    words = shlex.split(found["compare"])
    variants = expand(recipe, dict([parse_vary(words[words.index("--vary") + 1])]))
    assert [variant.recipe.model.options.get("omitted", []) for variant in variants] == [[], recipe.model.options["omitted"]]
    assert main(["train", str(tmp_path / "few.yaml"), "--epochs", "1", "--out", str(tmp_path / "trained")]) == 0


def test_people_read_a_table_and_copy_what_comes_next(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    recipe = tmp_path / "narrow.yaml"
    assert main(["allocate", str(run), "--params", "0.99", "--limit", "100", "--quiet", "--out", str(recipe)]) == 0
    out = capsys.readouterr().out
    assert "SE_3_3" in out
    words = " ".join(out.split())
    assert "without these units, before it is trained on" in words
    assert "50 images that did not decide" in words
    *_, written, twin, label, command = out.splitlines()
    assert (written, twin, label) == (f"recipe: {recipe}", f"recipe of one ratio: {tmp_path / 'narrow_uniform.yaml'}", "to compare:")
    program, _, file, _, vary, *seeds = shlex.split(command)
    assert (program, file, seeds) == ("senet", str(recipe), ["--seeds", "3"])
    assert vary.startswith("model.block={")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one budget: --params 1.5M"),
        (["--params", "1", "--latency", "0.5"], "give one budget"),
        (["--params", "many"], "a budget of params is a share such as 0.9"),
        (["--params", "10"], "is the least that narrower blocks leave; drop lets whole blocks go"),
        (["--params", "0.9", "--out", "x.json"], "--out names a file that ends in .yaml, got 'x.json'"),
        (["--params", "0.9", "--weights", "x.pt"], "--weights names a file that ends in .safetensors"),
        (["--params", "0.9", "--optim.lr", "1"], "an evaluation has no field 'optim.lr'"),
    ],
)
def test_errors_are_one_line(run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["allocate", str(run), *words, "--quiet"]) == 2
    line = capsys.readouterr().err.strip()
    assert message in line
    assert "\n" not in line


def test_weights_without_a_recipe_are_refused_before_anything_is_measured(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare.safetensors"
    senet.save_weights(senet.from_pretrained(run / "best.safetensors"), bare)
    monkeypatch.setattr("senet.compression.allocation.allocate_hidden", None)
    words = ["--params", "0.9", "--data.name", "digits", "--out", str(tmp_path / "x.yaml")]
    assert main(["allocate", str(bare), *words, "--quiet"]) == 2
    assert "does not say by which recipe it was trained: leave out --out" in capsys.readouterr().err


def test_networks_without_hidden_units_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(model__block="none", training__epochs=1), folder=tmp_path / "plain", progress=False)
    assert main(["allocate", str(tmp_path / "plain"), "--params", "0.9", "--quiet"]) == 2
    assert "has no block with hidden units" in capsys.readouterr().err


def test_inserted_blocks_keep_their_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tiny(model__block={"kind": "se", "reduction": 2}, model__init="identity", training__epochs=1)
    train(recipe, folder=tmp_path / "inserted", progress=False)
    files = ["--out", str(tmp_path / "narrow.yaml"), "--weights", str(tmp_path / "narrow.safetensors")]
    found = told(capsys, str(tmp_path / "inserted"), "--params", "0.3", "--of", "blocks", *files)
    again = load_recipe(tmp_path / "narrow.yaml")
    assert again.model.init == "identity"
    words = ["--epochs", "1", "--model.weights", str(tmp_path / "narrow.safetensors"), "--out", str(tmp_path / "trained")]
    assert main(["train", str(tmp_path / "narrow.yaml"), *words]) == 0  # which refuses blocks of other widths
    (weights,) = (tmp_path / "trained").glob("*/best.safetensors")
    model = senet.from_pretrained(weights)
    hidden = [block.hidden for block in model.modules() if isinstance(block, senet.ChannelSE)]
    assert hidden == [block["hidden"]["after"] for block in found["blocks"]]
