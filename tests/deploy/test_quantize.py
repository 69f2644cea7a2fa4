"""Files in 8 bits: what is int8 and what stays, as the file itself says; how far they are from the network; what is refused."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxruntime.quantization
import pytest
import torch
from torch import nn

import senet
from senet.deploy.onnx_int8 import GATES
from senet.deploy.onnx_network import OnnxNetwork
from senet.deploy.quantize import quantize
from senet.errors import UsageError
from trained_mobilenet import photographs, trained_mobilenet


class Unit(nn.Module):
    """Residual unit with a block and a classifier, exported in a second or two."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2, self.se = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), senet.ChannelSE(8, 2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.relu(x + self.se(self.bn2(self.conv2(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Unit().eval()


@pytest.fixture(scope="module")
def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 3, 12, 12, generator=generator) for _ in range(3)]


@pytest.fixture(scope="module", params=GATES)
def made(request: pytest.FixtureRequest, model: nn.Module, batches: list[torch.Tensor], tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("quantize") / "network.onnx"
    return quantize(model, iter(batches), path, gates=request.param), onnx.load(path).graph, path


def test_the_report_says_what_the_file_holds(made, model: nn.Module) -> None:
    report, graph, path = made
    parts = [(row.name, row.part, row.precision) for row in report.rows]
    inside = {"float": "float", "weights": "int8 weights", "int8": "int8"}[report.gates]
    gate = [(f"conv2.late_gate.fc{index}.weight", "gate", inside) for index in (1, 2)]
    assert parts[:4] == [("conv1.weight", "network", "int8"), ("conv2.weight", "network", "int8"), *gate]
    assert [part[1:] for part in parts[4:]] == [("scaling", "int8"), ("network", "int8")]
    assert (report.images, report.optimized, report.bytes) == (24, True, path.stat().st_size)
    assert [bool(row.reason) for row in report.rows] == [False, False, report.gates != "int8", report.gates != "int8", False, False]
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    kept = [name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT and name.endswith("fc1.weight")]
    assert bool(kept) == (report.gates == "float")
    assert types["conv1.weight_quantized"] == onnx.TensorProto.INT8


def test_the_file_gives_nearly_what_the_network_does(made, model: nn.Module, batches: list[torch.Tensor]) -> None:
    """The report's figures are those of NumPy, for images of any number and size."""
    report, _, path = made
    run, name = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), "x"
    want = np.concatenate([model(batch).detach().numpy() for batch in batches]).astype(np.float64)
    got = np.concatenate([np.asarray(run.run(None, {name: batch.numpy()})[0]) for batch in batches]).astype(np.float64)
    assert report.error == pytest.approx(np.sqrt(np.square(got - want).sum() / np.square(want).sum()), rel=1e-9)
    assert report.agreement == np.mean(got.argmax(1) == want.argmax(1))
    assert 1e-5 < report.error < 0.02
    other = torch.randn(5, 3, 20, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(OnnxNetwork(path)(other), model(other), atol=0.05, rtol=0)


def test_weights_of_gates_are_within_half_a_step(made, model: nn.Module) -> None:
    report, graph, _ = made
    if report.gates == "float":
        assert not [tensor.name for tensor in graph.initializer if "late_gate" in tensor.name and "quantized" in tensor.name]
        return
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for layer in ("fc1", "fc2"):
        name, want = f"conv2.late_gate.{layer}.weight", model.state_dict()[f"se.{layer}.weight"].numpy()
        steps, scale = values[f"{name}_quantized"], values[f"{name}_scale"]
        rows = len(scale) == len(steps)
        scales = scale[:, None] if rows else scale[None]
        widened = (steps * scales) if want.shape == steps.shape else (steps * scales).T
        assert (np.abs(widened - want) <= np.abs(want).max(1, keepdims=True) / 254 * 1.001).all()


def test_openvino_runs_the_file(made, batches: list[torch.Tensor]) -> None:
    openvino = pytest.importorskip("openvino")
    _, _, path = made
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    torch.testing.assert_close(torch.from_numpy(compiled(batches[0].numpy())[0]), OnnxNetwork(path)(batches[0]), atol=0.02, rtol=0)


def test_the_same_images_give_the_same_file(model: nn.Module, batches: list[torch.Tensor], tmp_path: Path) -> None:
    for name in ("one", "two"):
        quantize(model, batches, tmp_path / f"{name}.onnx", gates="weights", calibration="minmax", optimize=False)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    assert not model.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "two.onnx"]


def test_the_layers_that_8_bits_harm_most_stay_float(batches: list[torch.Tensor], tmp_path: Path) -> None:
    """A channel that nobody reads is a thousand times as large as the others: a map in 8 bits loses those, for who writes and who reads."""
    torch.manual_seed(1)
    layers = (
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    network = nn.Sequential(*layers).eval()
    with torch.no_grad():
        network[0].weight[0] *= 1000  # pyright: ignore[reportIndexIssue, reportOperatorIssue]
        network[2].weight[:, 0] = 0  # pyright: ignore[reportIndexIssue]
    plain, kept = (quantize(network, batches, tmp_path / "network.onnx", float_layers=count) for count in (0, 2))
    assert [(row.name, row.precision, row.reason) for row in kept.rows] == [
        ("0.weight", "float", "8 bits harm them most"),
        ("2.weight", "float", "8 bits harm them most"),
        ("6.weight", "int8", ""),
    ]
    assert kept.error < 0.02 < plain.error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": "half"}, "unknown precision of gates 'half'; allowed: float, weights, int8"),
        ({"calibration": "entropie"}, r"unknown calibration 'entropie' \(did you mean 'entropy'\?\)"),
        ({"float_layers": -1}, "float_layers must be a number of layers, 0 or more, got -1"),
        ({"batches": []}, "there are no images to find ranges on: give at least one batch"),
        ({"path": "network.pt2"}, "a network in 8 bits is an .onnx file, got .*network.pt2"),
        ({"model": nn.Linear(3, 2).half()}, "Linear has weights of float16: make it float32, then quantise"),
    ],
)
def test_wrong_usage_is_one_line(
    model: nn.Module, batches: list[torch.Tensor], tmp_path: Path, options: dict[str, object], message: str
) -> None:
    given = {"model": model, "batches": batches, "path": "network.onnx"} | options
    network, images, name = (given.pop(word) for word in ("model", "batches", "path"))
    with pytest.raises(UsageError, match=message):
        quantize(network, images, tmp_path / str(name), **given)  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(model: nn.Module, batches: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.shape_inference", None)
    with pytest.raises(UsageError, match=r"int8 files need the extra `export`: pip install 'senet\[export\]'"):
        quantize(model, batches, tmp_path / "network.onnx")


def test_a_network_that_the_library_cannot_quantise_leaves_the_old_file(
    model: nn.Module, batches: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"old")

    def fails(*args: object, **options: object) -> None:
        raise ValueError("no range\nfor a map")

    monkeypatch.setattr(onnxruntime.quantization, "QDQQuantizer", fails)
    with pytest.raises(RuntimeError, match="ONNX Runtime cannot quantise this network: no range; nothing is written"):
        quantize(model, batches, path)
    assert path.read_bytes() == b"old"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no file: name an \.onnx file"):
        OnnxNetwork(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(UsageError, match="ONNX Runtime cannot read"):
        OnnxNetwork(tmp_path / "broken.onnx")


@pytest.mark.slow
def test_gates_in_float_save_a_trained_mobilenet(shared_data: Path, tmp_path: Path) -> None:
    """Photographs on a network trained on ImageNet: 8 bits everywhere lose a quarter of it, with gates and four layers in float a tenth."""
    images, classes = photographs(shared_data, 300, every=3)
    network, path = trained_mobilenet(shared_data), tmp_path / "mobilenet.onnx"

    def right(model: nn.Module) -> float:
        with torch.no_grad():
            return float(torch.cat([model(part).argmax(1) for part in images[100:].split(50)]).eq(classes[100:]).double().mean())

    found = {}
    for gates, layers in (("int8", 0), ("float", 0), ("float", 4)):
        report = quantize(network, images[:100].split(20), path, gates=gates, float_layers=layers, fixed_size=True)
        found[gates, layers] = right(OnnxNetwork(path))
        assert report.bytes < 0.5 * report.float_bytes
        assert sum(row.part == "scaling" for row in report.rows) == 9
    assert found["int8", 0] + 0.04 < found["float", 0] < found["float", 4]
    assert right(network) - found["float", 4] < 0.08
