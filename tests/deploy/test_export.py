"""Exported files compute what the network does, for any number and size of images, in ONNX Runtime, OpenVINO and torch.export."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import senet
from oracles.short_networks import shorten
from oracles.weights import draw
from senet.cli.main import main
from senet.deploy.export import WRITERS, export, export_onnx
from senet.errors import UsageError
from senet.spec import InputSpec

ANY = ("batch", "height", "width")


def network(name: str = "se_resnet18", seed: int = 0) -> nn.Module:
    return draw(shorten(senet.create_model(name, num_classes=10)), last=r"bn[23]$", projection=r"downsample\.1$", seed=seed).eval()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


@pytest.fixture(scope="module")
def onnx_file(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "network.onnx"
    report = export_onnx(model, path, torch.randn(2, 3, 64, 96))
    assert report.free == ANY
    assert [check.shape for check in report.checks] == [(2, 3, 64, 96), (1, 3, 64, 96), (3, 3, 81, 136)]
    assert max(check.error for check in report.checks) < 1e-5
    assert report.bytes == path.stat().st_size
    return path


def test_openvino_runs_the_file(model: nn.Module, onnx_file: Path) -> None:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(onnx_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in ((1, 3, 64, 64), (3, 3, 97, 65)):
        images = torch.randn(shape)
        with torch.inference_mode():
            want = model(images)
        torch.testing.assert_close(torch.from_numpy(compiled(images.numpy())[0]), want, rtol=1e-4, atol=1e-4)


def test_pt2_runs_without_this_package_and_the_network_is_left_alone(model: nn.Module, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    report = export(model, tmp_path / "network.pt2", torch.randn(2, 3, 64, 96))
    assert model.training
    model.eval()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert report.free == ANY
    assert max(check.error for check in report.checks) < 1e-5
    program = torch.export.load(tmp_path / "network.pt2")
    assert not [node for node in program.graph.nodes if "senet" in str(node.target) or "norm" in str(node.target)]  # the inference form


def squeezed_channels(model: nn.Module) -> set[int]:
    """Return the channels of the maps whose means an exported network takes; regions without autocast are graphs of their own."""
    program = torch.export.export(model, (torch.randn(2, 3, 64, 64),))
    graphs = [inner.graph for inner in program.graph_module.modules() if isinstance(inner, torch.fx.GraphModule)]
    means = [node for graph in graphs for node in graph.nodes if str(node.target).startswith("aten.mean")]
    return {node.args[0].meta["val"].shape[1] for node in means}


def test_the_inference_form_squeezes_before_the_last_convolution() -> None:
    bottlenecks = network("se_resnet50")
    assert squeezed_channels(senet.optimize(bottlenecks)) == {64, 128, 256, 512, 2048}
    assert squeezed_channels(bottlenecks) == {256, 512, 1024, 2048}


def test_a_file_that_computes_something_else_is_not_written(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.pt2"
    path.write_bytes(b"old")
    other = network(seed=1)
    write, _ = WRITERS[".pt2"]
    monkeypatch.setitem(WRITERS, ".pt2", (write, lambda file: lambda images: other(images)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match=r"computes something else: .* nothing is written"), torch.no_grad():
        export(model, path, torch.randn(2, 3, 64, 64))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("network.pth", {}, "unknown format of a file '.pth'.*allowed: .onnx, .pt2"),
        ("network.pt2", {"example_input": torch.randn(1, 3, 64, 64)}, "needs two images or more"),
    ],
)
def test_wrong_usage_is_one_line(model: nn.Module, tmp_path: Path, path: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(model, tmp_path / path, **options)


def test_foreign_networks_need_an_example(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Sequential does not say its input size: give example_input"):
        export(nn.Sequential(nn.Conv2d(3, 4, 1)), tmp_path / "network.pt2")


def test_the_command_compares_on_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trained, target, photo = tmp_path / "trained.safetensors", tmp_path / "network.onnx", tmp_path / "photo.png"
    spec = InputSpec(size=32, resize=32, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    senet.save_weights(draw(senet.create_model("se_cifar_resnet20"), last=r"bn2$", projection=r"downsample\.1$"), trained, input=spec)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(photo)
    words = ["export", str(trained), "--to", str(target), "--images", str(photo)]
    target.write_bytes(b"old")
    assert main(words) == 2
    assert "exists; --force writes over it" in capsys.readouterr().err
    assert main([*words, "--force", "--no-verify"]) == 2
    assert "drop --no-verify" in capsys.readouterr().err
    assert target.read_bytes() == b"old"

    reports = []
    monkeypatch.setattr("senet.deploy.export.export", lambda *args, **options: reports.append(export(*args, **options)) or reports[-1])
    assert main([*words, "--force", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["checks"][-1]["shape"] == [1, 3, 32, 32]
    assert len(report["checks"]) == 4
    assert target.stat().st_size == report["bytes"]
    monkeypatch.setattr("senet.deploy.export.export", lambda *args, **options: reports[-1])
    assert main([*words, "--force"]) == 0
    assert "optimised for inference" in capsys.readouterr().out
