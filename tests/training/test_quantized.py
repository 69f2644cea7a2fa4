"""Trained weights in 8 bits: the metric before and after, on images that ranges were not found on; the command and what it refuses."""

import json
from pathlib import Path

import pytest
import torch

from made_runs import tiny
from senet.cli.main import main
from senet.deploy.export import export_onnx
from senet.deploy.onnx_network import OnnxNetwork
from senet.training.evaluate import evaluate
from senet.training.loop import train
from senet.training.measured import ValidationSet
from senet.training.members import load_members


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tiny"
    train(tiny(), folder=folder, progress=False)
    return folder


def test_the_command_measures_network_and_file_on_the_same_other_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.onnx"
    words = ["export", str(run), "--to", str(path), "--int8", "--calibration-images", "50", "--limit", "400", "--json"]
    assert main([*words, "--float-layers", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["gates"], said["calibration"]) == (50, "float", "percentile")
    assert [row["reason"] for row in said["rows"] if row["part"] == "network" and row["precision"] != "int8"] == ["8 bits harm them most"]
    measured = said["measured"]
    assert (measured["metric"], measured["images"]) == ("top-1", 350)
    (member,) = load_members(run, torch.device("cpu"))
    calibration, others = ValidationSet.of(member, limit=400).split(50)
    assert len({*calibration.chosen} | {*others.chosen}) == 400
    before, after = others.measure(member.model), others.measure(OnnxNetwork(path))
    assert (measured["float32"], measured["int8"]) == (before.value, after.value)
    assert abs(measured["loss"]["points"] - (before.value - after.value)) < 1e-9
    assert measured["loss"]["low"] <= measured["loss"]["points"] <= measured["loss"]["high"]
    assert before.value > 30
    assert abs(measured["loss"]["points"]) < 10


def test_half_of_few_images_are_left_to_measure_on(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--to", str(tmp_path / "tiny.onnx"), "--int8", "--limit", "60", "--gates", "weights"]
    assert main([*words, "--no-optimize", "--fixed-size"]) == 0
    said = capsys.readouterr().out
    assert "percentile, of 30 images" in said
    assert "gates' layers   18 int8 weights: gates have int8 weights only" in said
    assert "in float32" in said
    assert "in 8 bits, on 30 other images" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gates", "int8"], "--gates says how a network is written in 8 bits: add --int8, or drop it"),
        (["--data.root", "images"], "--data.root says how a network is written in 8 bits: add --int8, or drop it"),
        (["--int8", "--no-verify"], "--int8 compares on validation images, always: drop --no-verify"),
        (["--int8", "--gates", "half"], "unknown precision of gates 'half'; allowed: float, weights, int8"),
        (["--int8", "--calibration-images", "0"], "calibration_images"),
        (["--int8", "--optim.lr", "1"], "an evaluation has no field 'optim.lr'"),
    ],
)
def test_wrong_usage_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["export", str(run), "--to", str(tmp_path / "tiny.onnx"), *words]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_untrained_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "se_resnet18", "--to", str(tmp_path / "n.onnx"), "--int8"]) == 2
    assert "'se_resnet18' names an untrained network, and --int8 measures trained ones" in capsys.readouterr().err


def test_files_are_evaluated_as_networks_are(run: Path, tmp_path: Path) -> None:
    """Without quantisation a file has the metric of its network."""
    (member,) = load_members(run, torch.device("cpu"))
    export_onnx(member.model, tmp_path / "tiny.onnx", verify=False)
    images = ValidationSet.of(member)
    assert images.measure(OnnxNetwork(tmp_path / "tiny.onnx")).value == evaluate(run, images.recipe).metrics["top1"]
