"""Files of the official release, by an independent writer, give the networks that the same weights give when they are set directly."""

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from oracles.caffe_writer import CaffeLayer, ReleaseWriter, Style, network
from oracles.weights import draw
from senet import create_model, load_weights, save_weights
from senet.data.transforms import centre_crop, resize_shorter
from senet.errors import UsageError
from senet.training.predict import predict
from senet.weights.caffe.file import parse
from senet.weights.caffe.release import CAFFE, INPUT, layer_tensors, read_caffe
from senet.weights.imagenet import class_names

COUNTS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
SIZE_OF_RELEASE = {
    "se_bn_inception": 45.6,
    "se_resnet50": 107.4,
    "se_resnet101": 188.6,
    "se_resnet152": 255.5,
    "se_resnext50_32x4d": 105.4,
    "se_resnext101_32x4d": 187.3,
    "senet154": 440.0,
}
"""All blobs of the official files, in MiB."""

SPREAD = 64
"""Standard deviation of images that are not divided by theirs, roughly."""

NETWORKS = [
    ("se_bn_inception", None, Style()),
    ("se_resnet50", 50, Style()),
    ("se_resnext50_32x4d", 50, Style(axpy=False, legacy_dims=True)),
    pytest.param("se_resnet101", 101, Style(axpy=False), marks=pytest.mark.slow),
    pytest.param("se_resnet152", 152, Style(packed=False), marks=pytest.mark.slow),
    pytest.param("se_resnext101_32x4d", 101, Style(doubles=True), marks=pytest.mark.slow),
    pytest.param("senet154", 152, Style(), marks=pytest.mark.slow),
]


def devkit_places() -> np.ndarray:
    """Return for each class, in sorted order, its row in the release's classifier."""
    with files("senet").joinpath("weights", "imagenet_classes.csv").open() as file:
        return np.array([int(row["devkit"]) - 1 for row in csv.DictReader(file)])


def drawn(name: str) -> nn.Module:
    model = draw(create_model(name), last=r"bn3$", projection=r"downsample\.1$").eval()
    next(module for module in model.modules() if isinstance(module, nn.Conv2d)).weight.data /= SPREAD
    return model


def write(path: Path, name: str, depth: int | None, style: Style, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Write a network's file; return the state dict that it amounts to."""
    writer = ReleaseWriter({key: tensor.numpy() for key, tensor in state.items()}, devkit_places(), style.axpy)
    layers = writer.inception() if depth is None else writer.residual(COUNTS[depth], deep_stem=name == "senet154")
    layers = list(layers)
    megabytes = sum(blob.size for layer in layers for blob in layer.blobs) * 4 / 2**20
    assert megabytes == pytest.approx(SIZE_OF_RELEASE[name], abs=0.06)
    path.write_bytes(network(layers, style))
    return {key: torch.from_numpy(np.asarray(value)) for key, value in writer.expected.items()}


@pytest.mark.parametrize(("name", "depth", "style"), NETWORKS)
def test_a_release_equals_its_weights_set_directly(tmp_path: Path, name: str, depth: int | None, style: Style) -> None:
    direct = drawn(name)
    path = tmp_path / "release.caffemodel"
    expected = write(path, name, depth, style, direct.state_dict())
    direct.load_state_dict(expected)
    loaded = create_model(name, weights=f"caffe:{path}").eval()
    state = loaded.state_dict()
    assert state.keys() == expected.keys()
    assert [key for key, tensor in expected.items() if not torch.equal(tensor, state[key])] == []
    images = SPREAD * torch.randn(1, 3, 65, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, found = direct.double()(images), loaded.double()(images)
    assert wanted.std() > 1e-3
    assert torch.equal(found, wanted)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("caffe") / "SE-BN-Inception.caffemodel"
    write(path, "se_bn_inception", None, Style(), drawn("se_bn_inception").state_dict())
    return path


def test_the_network_knows_its_images_and_classes(release: Path) -> None:
    model = create_model("se_bn_inception", weights=release)
    assert model.weights_metadata.input == INPUT
    assert model.weights_metadata.classes == class_names()


@pytest.mark.parametrize("convention", [None, "rgb", "imagenet"])
def test_a_photograph_through_predict_is_as_in_caffe(release: Path, tmp_path: Path, shared_data: Path, convention: str | None) -> None:
    photograph = sorted((shared_data / "imagenet1k_sample" / "images").iterdir())[7]
    loaded = create_model("se_bn_inception")
    load_weights(loaded, release, input=convention)
    save_weights(loaded, tmp_path / "w.safetensors")
    (found,) = predict(tmp_path / "w.safetensors", [photograph], top_k=1000, device="cpu")
    pixels = np.asarray(centre_crop(resize_shorter(Image.open(photograph).convert("RGB"), 256), 224), np.float32)
    blue_first = pixels[:, :, ::-1] - np.float32([104, 117, 123])
    with torch.no_grad():
        logits = drawn("se_bn_inception")(torch.from_numpy(blue_first.transpose(2, 0, 1).copy())[None])[0]
    in_caffe = torch.empty_like(logits)
    in_caffe[devkit_places()] = logits  # what the release's classifier gives
    name_of = {int(place): name for place, name in zip(devkit_places(), class_names(), strict=True)}
    wanted = {name_of[place]: probability for place, probability in enumerate(in_caffe.softmax(0).tolist())}
    tolerance = 0.02 if convention == "imagenet" else 1e-3  # float32; at the border the padding has another colour
    assert max(wanted.values()) > 0.002  # twice what a network gives that sees nothing
    assert {guess.name: guess.probability for guess in found.prediction.guesses} == pytest.approx(wanted, rel=tolerance)


def test_the_report_names_the_release(release: Path) -> None:
    model = create_model("se_bn_inception", device="cpu")
    report = load_weights(model, f"caffe:{release}")
    assert report.release == "caffe/SE-BN-Inception"
    assert report.numbers == sum(tensor.numel() for tensor in model.state_dict().values())


def test_another_networks_file_is_refused(release: Path) -> None:
    with pytest.raises(UsageError, match=r"does not fit this network: .* missing: .* unexpected: "):
        create_model("se_resnet50", weights=f"caffe:{release}")


def test_classifiers_of_other_data_keep_their_order() -> None:
    weight = torch.randn(7, 3)
    convert = CAFFE.releases[0].convert
    assert torch.equal(convert({"fc.weight": weight})["fc.weight"], weight)


def layers_of(*layers: CaffeLayer, **style: bool) -> dict[str, torch.Tensor]:
    return layer_tensors(parse(network(layers, Style(**style))), "mine.caffemodel")


def test_batch_norm_without_a_factor_is_zero_as_in_caffe() -> None:
    tensors = layers_of(CaffeLayer("x/bn", "BatchNorm", (np.ones(3), np.ones(3), np.zeros(1))))
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"x/bn.running_mean": [0, 0, 0], "x/bn.running_var": [0, 0, 0]}


def test_matrices_and_vectors_of_four_axes_lose_them() -> None:
    linear = CaffeLayer("classifier", "InnerProduct", (np.ones((5, 4)), np.ones(5)))
    conv = CaffeLayer("conv", "Convolution", (np.ones((6, 2, 1, 3)), np.ones(6)))
    scale = CaffeLayer("conv/bn/scale", "Scale", (np.ones(6), np.ones(6)))
    shapes = {name: tuple(tensor.shape) for name, tensor in layers_of(linear, conv, scale, legacy_dims=True).items()}
    assert shapes == {
        "classifier.weight": (5, 4),
        "classifier.bias": (5,),
        "conv.weight": (6, 2, 1, 3),
        "conv.bias": (6,),
        "conv/bn.weight": (6,),
        "conv/bn.bias": (6,),
    }


@pytest.mark.parametrize(
    "layer",
    [
        CaffeLayer("conv/bn", "BatchNorm", (np.ones(3), np.ones(3))),
        CaffeLayer("conv/bn", "BN", (np.ones(3),) * 4),
        CaffeLayer("conv/bn", "BatchNorm", (np.ones(3), np.ones(3), np.ones(3))),
        CaffeLayer("conv/bn/scale", "Scale", (np.ones(3),)),
        CaffeLayer("conv/bn/scale", "Scale", (np.ones((2, 3)), np.ones(3))),
        CaffeLayer("prelu", "PReLU", (np.ones(3),)),
        CaffeLayer("lstm", "LSTM", (np.ones((3, 3)), np.ones(3), np.ones((3, 3)))),
        CaffeLayer("fc", "InnerProduct", (np.ones((2, 3, 4)), np.ones(2))),
    ],
    ids=lambda layer: f"{layer.type} {len(layer.blobs)}",
)
def test_strange_layers_are_listed(layer: CaffeLayer) -> None:
    with pytest.raises(UsageError) as raised:
        layers_of(CaffeLayer("conv", "Convolution", (np.ones((2, 3, 1, 1)),)), layer)
    message = str(raised.value)
    assert message.startswith(f"'mine.caffemodel' has layers with blobs that no layer of the release has: '{layer.name}' ({layer.type}: ")
    assert "\n" not in message


def test_unknown_layers_are_left_over(tmp_path: Path) -> None:
    model = drawn("se_bn_inception")
    writer = ReleaseWriter({key: tensor.numpy() for key, tensor in model.state_dict().items()}, devkit_places())
    layers = [layer for layer in writer.inception() if layer.name != "inception_4b/3x3/bn"]
    layers.append(CaffeLayer("inception_3a/7x7", "Convolution", (np.ones((2, 2, 7, 7)),)))
    (tmp_path / "w.caffemodel").write_bytes(network(layers))
    with pytest.raises(UsageError) as raised:
        load_weights(model, tmp_path / "w.caffemodel")
    message = str(raised.value)
    assert "2 missing: stage4.b.branches.3x3.1.bn.running_mean, stage4.b.branches.3x3.1.bn.running_var" in message
    assert "1 unexpected: " in message
    assert "7x7" in message


def test_a_file_is_read_as_it_is_named(release: Path) -> None:
    tensors = read_caffe(release)
    assert tensors["inception_5b/double3x3b.weight"].shape == (224, 224, 3, 3)
    assert tensors["inception_5b/double3x3b/bn.running_var"].shape == (224,)
