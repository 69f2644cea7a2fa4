"""`senet compress` as a user meets it."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import senet.comparison.measure as measure
from made_pruning import prune_quickly, trained_tiny
from made_runs import tiny
from senet.cli import compress
from senet.cli.arguments import CommandParser
from senet.cli.main import main
from senet.models.create import from_pretrained
from senet.training.loop import train
from senet.weights.store import find_config, metadata_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of an SE network."""
    return trained_tiny(tmp_path_factory.mktemp("trained") / "mine")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(measure, "ROUNDS", 3)
    prune_quickly(monkeypatch, latency=1.25)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_a_target_gates_are_folded(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert main(["compress", str(run), "--tolerance", "100", "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    file = tmp_path / "mine-fold100.safetensors"
    assert "9 of 9 blocks folded" in out
    assert f"weights: {file}" in out
    network = from_pretrained(file)
    assert len(find_config(network).options["reduced"][0]["folded"]) == 9
    assert metadata_of(network).classes == metadata_of(from_pretrained(run / "best.safetensors")).classes
    assert contents(run) == before
    assert main(["compress", str(run), "--tolerance", "100", "--out", str(tmp_path)]) == 2
    assert "--force writes over it" in capsys.readouterr().err
    assert main(["compress", str(run), "--tolerance", "0", "--to", str(file), "--force", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tolerance"] == 0
    assert told["lost"]["unit"] == "points"
    assert all(step["decision"]["points"] <= 0 for step in told["steps"] if step["taken"])


def test_with_a_target_channels_are_pruned(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.safetensors"
    assert main(["compress", str(run), "--target", "params=0.5", "--rank", "l1", "--scope", "layer", "--to", str(file)]) == 0
    out, _ = capsys.readouterr()
    assert "before and" in out
    assert "as measured it is no faster" in out
    assert find_config(from_pretrained(file)).options["reduced"]
    assert main(["eval", str(file), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 596
    assert main(["compress", str(run), "--target", "macs=0.6", "--steps", "2", "--to", str(file), "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rank"], len(told["ratios"]), told["target"]) == ("gate", 2, {"kind": "macs", "share": 0.6})
    assert told["lost"]["points"] == pytest.approx(told["metric"]["before"] - told["metric"]["after"])


def test_rankings_are_compared_after_fine_tuning(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "gently.yaml"
    recipe.write_text("name: gently\ntraining: {epochs: 1}\noptim: {lr: 0.02}\n")
    words = ["compress", str(run), "--target", "macs=0.7", "--rank", "gate,l1", "--finetune", str(recipe), "--seeds", "1"]
    words += ["--out", str(tmp_path)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / f"compress-{run.name}"
    assert "uncompressed" in out
    assert "gate 0.7 of MACs" in out
    assert "one seed does not say which ranking wins" in " ".join(out.split())
    assert f"report: {folder}/report-macs0.7.html" in out
    assert "l1 0.7 of MACs, seed 1/1  epoch 1/1" in err
    result = json.loads((folder / "result-macs0.7.json").read_text())
    assert result["command"] == f"senet compress {run} --target macs=0.7 --rank gate,l1 --finetune {recipe} --seeds 1"
    for variant in result["variants"]:
        assert from_pretrained(Path(variant["runs"][0]["folder"]) / "best.safetensors")


def test_the_command_of_a_comparison_names_every_flag_that_shapes_its_result() -> None:
    parser = CommandParser(prog="senet compress")
    compress.add_arguments(parser)
    elsewhere = {"help", "weights", "jobs", "to", "force", "out", "no_report", "device", "quiet", "allow_code", "json"}
    shaping = {action.dest for action in parser._actions} - elsewhere
    args = Namespace(weights="mine", changes={}, **dict.fromkeys(shaping, 7))
    assert all(f"--{flag} 7" in compress._command(args) for flag in shaping)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tolerance", "-1"], "--tolerance must be 0 or more points"),
        (["--tolerance", "nan"], "--tolerance must be 0 or more points"),
        (["--tolerance", "1", "--target", "macs=0.7"], "leave out one of the two"),
        (["--rank", "l1"], "--rank is for pruning: add --target"),
        (["--steps", "2"], "--steps is for pruning: add --target"),
        (["--batch", "8"], "--batch is for pruning: add --target"),
        (["--target", "macs=0.7", "--batch", "8"], "macs is counted: leave it out, or say --target latency=0.7"),
        (["--target", "latency=0.7", "--batch", "0"], "--batch must be an integer of at least 1"),
        (["--target", "macs"], "such as macs=0.7, got 'macs'"),
        (["--target", "macs=1.5"], "above 0 and below 1"),
        (["--target", "mac=0.5"], "did you mean 'macs'"),
        (["--target", "macs=0.5", "--rank", "gat"], "did you mean 'gate'"),
        (["--target", "macs=0.5", "--rank", "l1,l1"], "names one twice"),
        (["--target", "macs=0.5", "--rank", "l1,l2"], "add --finetune RECIPE"),
        (["--target", "macs=0.5", "--scope", "layers"], "did you mean 'layer'"),
        (["--target", "macs=0.5", "--steps", "0"], "--steps must be an integer of at least 1"),
        (["--seeds", "2"], "--seeds is for comparisons: add --finetune RECIPE"),
        (["--seeds", "0"], "--seeds is for comparisons: add --finetune RECIPE"),
        (["--finetune", "digits", "--to", "x"], "leave it out"),
        (["--finetune", "digits", "--force"], "--force writes over a file"),
        (["--finetune", "digits", "--device", "cpu"], "--device is for a network that is not trained on"),
        (["--finetune", "digit"], "unknown recipe 'digit'"),
        (["--finetune", "digits", "--model.name", "resnet50"], "model.name is the trained network's"),
        (["--lr", "1"], "an evaluation has no field 'optim.lr'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words, message) -> None:
    assert main(["compress", str(run), *words, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_processes_of_a_launcher_are_refused_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "a launcher such as torchrun has started 2" in refused("compress", run, "--finetune", "digits", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_without_blocks_has_nothing_to_fold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(model__block=None, training__epochs=1), folder=tmp_path / "plain", progress=False)
    assert main(["compress", str(tmp_path / "plain"), "--to", str(tmp_path / "x.safetensors")]) == 2
    assert "has no blocks to fold" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
