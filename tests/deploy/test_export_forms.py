"""Networks of every form that users export: fixed sizes, other ranks and types, several outputs."""

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import senet
from senet.cli.main import main
from senet.deploy.agreement import compare_outputs
from senet.deploy.export import export, export_onnx
from senet.deploy.formats import output_names, output_tensors
from senet.errors import UsageError
from senet.spec import InputSpec

IMAGES = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


class FixedSize(nn.Module):
    """Network that asserts its size, as vision transformers do; without the assertion its head does."""

    def __init__(self, asserts: bool = True) -> None:
        super().__init__()
        self.conv, self.fc, self.asserts = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4 * 4 * 6, 5), asserts

    def forward(self, x: Tensor) -> Tensor:
        if self.asserts:
            torch._assert(x.shape[-2] == 8, "expected 8 rows")
        return self.fc(self.conv(x).flatten(1))


class EvenSize(nn.Module):
    """U-shaped network, whose size must be a multiple of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.down2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.up, self.up2 = nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down(x)
        return self.up2(torch.relu(half + self.up(self.down2(half))))


class Outputs(nn.Module):
    def __init__(self, form) -> None:
        super().__init__()
        self.conv, self.form = nn.Conv2d(3, 4, 3), form

    def forward(self, x: Tensor):
        y = self.conv(x)
        return self.form(y, y.mean((2, 3)))


FORMS = {
    "tuple": lambda y, z: (y, z),
    "nested": lambda y, z: [y, (z, None)],
    "dict": lambda y, z: {"out": y, "aux": z},
    "ordered": lambda y, z: OrderedDict(out=y, aux=[z, z]),
}

BLOCK = nn.Sequential(nn.BatchNorm1d(8), senet.ChannelSE(8), nn.ReLU())


@pytest.mark.parametrize("asserts", [True, False])
def test_a_network_of_one_size_is_exported_for_that_size_and_says_so(tmp_path: Path, asserts: bool) -> None:
    report = export(FixedSize(asserts), tmp_path / "x.pt2", IMAGES)
    assert (report.free, report.fixed) == (("batch",), ("height", "width"))
    assert report.reason.startswith("the network refuses 3x3x25x52: ")
    assert [check.shape for check in report.checks] == [(2, 3, 8, 12), (1, 3, 8, 12)]


def test_a_size_that_must_be_a_multiple_stays_free(tmp_path: Path) -> None:
    report = export(EvenSize(), tmp_path / "x.pt2", IMAGES)
    assert (report.free, report.fixed, report.reason) == (("batch", "height", "width"), (), "")
    assert report.checks[-1].shape == (3, 3, 40, 76)


def test_the_size_can_be_fixed(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    report = export(network, tmp_path / "x.pt2", IMAGES, fixed_size=True)
    assert (report.free, report.fixed, report.reason) == (("batch",), ("height", "width"), "")
    assert torch.export.load(tmp_path / "x.pt2").module()(IMAGES[:1]).shape == (1, 4, 6, 10)


@pytest.mark.parametrize("suffix", [".PT2", ".ONNX", ".Onnx"])
def test_suffixes_in_capitals_are_the_same_formats(tmp_path: Path, suffix: str) -> None:
    report = export(nn.Conv2d(3, 4, 3), tmp_path / f"x{suffix}", IMAGES)
    assert (report.format, report.file) == (suffix.lower()[1:], str(tmp_path / f"x{suffix}"))
    assert (tmp_path / f"x{suffix}").stat().st_size == report.bytes


def test_capitals_are_an_onnx_file(tmp_path: Path) -> None:
    assert export_onnx(nn.Conv2d(3, 4, 3), tmp_path / "x.ONNX", IMAGES, fixed_size=True).fixed == ("height", "width")
    with pytest.raises(UsageError, match=r"must end in .onnx"):
        export_onnx(nn.Conv2d(3, 4, 3), tmp_path / "x.pt2", IMAGES)


@pytest.mark.parametrize(
    ("network", "shape", "free"),
    [
        (nn.Sequential(nn.Linear(6, 8), BLOCK), (2, 6), ("batch",)),
        (nn.Sequential(nn.Conv1d(6, 8, 3), BLOCK, nn.AdaptiveAvgPool1d(1)), (2, 6, 20), ("batch", "length")),
        (nn.Sequential(nn.Conv3d(6, 8, 3), senet.ChannelSpatialSE(8)), (2, 6, 4, 5, 6), ("batch", "depth", "height", "width")),
    ],
    ids=["vectors", "signals", "volumes"],
)
@pytest.mark.parametrize("suffix", ["pt2", "onnx"])
def test_vectors_signals_and_volumes_are_exported_as_images_are(tmp_path: Path, network: nn.Module, shape, free, suffix: str) -> None:
    report = export(network, tmp_path / f"x.{suffix}", torch.randn(shape))
    assert (report.free, report.fixed) == (free, ())
    assert len(report.checks) == (2 if len(shape) == 2 else 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_another_type_get_images_of_that_type(tmp_path: Path, dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), senet.ChannelSE(8), nn.ReLU()).to(dtype)
    report = export(network, tmp_path / "x.pt2", IMAGES)
    assert len(report.checks) == 3
    assert torch.export.load(tmp_path / "x.pt2").module()(IMAGES.to(dtype)).dtype == dtype


def test_half_precision_is_verified_in_onnx_and_what_the_engine_lacks_is_one_line(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), senet.ChannelSE(8), nn.ReLU())
    assert len(export(network.half(), tmp_path / "x.onnx", IMAGES).checks) == 3
    with pytest.raises(RuntimeError, match=r"the file cannot be run here \(make the network float32, .*; nothing is written$") as error:
        export(network.bfloat16(), tmp_path / "y.onnx", IMAGES)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "y.onnx").exists()


def test_a_head_of_zeros_agrees_with_itself(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    assert {check.error for check in export(network, tmp_path / "x.pt2", IMAGES).checks} == {0.0}


@pytest.mark.parametrize("form", FORMS)
def test_several_outputs_are_all_compared(tmp_path: Path, form: str) -> None:
    network = Outputs(FORMS[form]).eval()
    assert len(export(network, tmp_path / "x.pt2", IMAGES).checks) == 3
    outputs = output_tensors(torch.export.load(tmp_path / "x.pt2").module()(IMAGES))
    assert all(torch.equal(got, want) for got, want in zip(outputs, output_tensors(network(IMAGES)), strict=True))


def test_the_outputs_of_an_onnx_file_have_the_names_of_the_networks(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export(Outputs(FORMS["ordered"]), tmp_path / "x.onnx", IMAGES)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["out", "aux_0", "aux_1"]
    assert output_names((IMAGES, IMAGES)) is None


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_difference_in_any_output_is_found(wrong: int) -> None:
    network = Outputs(FORMS["dict"])

    def other(images: Tensor) -> list[Tensor]:
        outputs = output_tensors(network(images))
        outputs[wrong] = outputs[wrong] + 0.01
        return outputs

    with pytest.raises(RuntimeError, match="computes something else"):
        compare_outputs(Path("x"), lambda file: other, network, [IMAGES])
    with pytest.raises(RuntimeError, match="computes something else: inf"):
        compare_outputs(Path("x"), lambda file: lambda images: output_tensors(network(images))[:1], network, [IMAGES])


@pytest.mark.parametrize(("value", "agrees"), [(float("-inf"), True), (float("nan"), False)], ids=["masked logits", "nan"])
def test_outputs_that_are_not_finite(value: float, agrees: bool) -> None:
    network = nn.Threshold(2.0, value)
    if agrees:
        assert compare_outputs(Path("x"), lambda file: network, network, [IMAGES])[0].error == 0
        with pytest.raises(RuntimeError, match="computes something else: inf"):
            compare_outputs(Path("x"), lambda file: nn.Threshold(2.0, 0.0), network, [IMAGES])
    else:
        with pytest.raises(UsageError, match="Threshold itself gives nan on 2x3x8x12"):
            compare_outputs(Path("x"), lambda file: network, network, [IMAGES])


@pytest.mark.parametrize(
    ("network", "example", "message"),
    [
        (nn.Conv2d(4, 4, 1), IMAGES, "Conv2d refuses an input of 2x3x8x12: .*expected input.* to have 4 channels, but got 3"),
        (nn.Conv2d(3, 4, 1), IMAGES[0, 0, 0], r"one tensor \(N, C\), .* got \(12,\)"),
        (nn.Conv2d(3, 4, 1), [IMAGES], r"one tensor .* got list"),
        (Outputs(lambda y, z: None), IMAGES, "returns NoneType; only tensors, and tuples and mappings of them, can be exported"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path, network: nn.Module, example, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        export(network, tmp_path / "x.pt2", example)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_followed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"torch.export cannot follow this network: .*; nothing is written") as error:
        export(Outputs(lambda y, z: y if z.sum().item() > 0 else 2 * y), tmp_path / "x.pt2", IMAGES)
    assert "\n" not in str(error.value)


def test_the_command_fixes_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = InputSpec(size=24, resize=24, channels=1, mean=(0.5,), std=(0.25,))
    network = senet.create_model("se_cifar_resnet20", num_classes=2, in_channels=1)
    senet.save_weights(network, tmp_path / "grey.safetensors", input=spec)
    words = ["export", str(tmp_path / "grey.safetensors"), "--to", str(tmp_path / "x.PT2"), "--fixed-size", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["free"], report["fixed"]) == ("pt2", ["batch"], ["height", "width"])
    assert [check["shape"] for check in report["checks"]] == [[2, 1, 24, 24], [1, 1, 24, 24]]
