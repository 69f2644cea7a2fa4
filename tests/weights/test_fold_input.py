"""Folding the input convention changes the images that a network takes, and not what it says about them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from oracles.weights import draw
from senet import create_model
from senet.errors import UsageError
from senet.spec import InputSpec
from senet.weights.caffe.release import INPUT
from senet.weights.fold_input import fold_input
from senet.weights.releases.library import IMAGENET


def seen(colours: Tensor, spec: InputSpec) -> Tensor:
    """Return what a network sees of colours (N, 3, H, W) in 0..1, red first."""
    if spec.order == "bgr":
        colours = colours[:, [2, 1, 0]]
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (spec.mean, spec.std))
    return (colours - mean) / std


def folded(model: nn.Module, to: str) -> tuple[nn.Module, InputSpec]:
    tensors, new = fold_input(model.state_dict(), INPUT, to)
    other = create_model(model.config.name).double().eval()
    other.load_state_dict(tensors)
    return other, new


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return draw(create_model("se_resnet18").double(), last=r"layer.*bn2$", projection=r"downsample\.1$").eval()


@pytest.fixture(scope="module")
def colours() -> Tensor:
    return torch.rand(2, 3, 65, 67, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_rgb_is_exact(network: nn.Module, colours: Tensor) -> None:
    model, new = folded(network, "rgb")
    assert new == replace(INPUT, order="rgb", mean=(123 / 255, 117 / 255, 104 / 255), std=(1.0, 1.0, 1.0))
    wanted = network(seen(colours, INPUT))
    found = model(seen(colours, new))
    assert wanted.abs().max() > 0.1
    assert (found - wanted).abs().max() / wanted.abs().max() < 1e-12
    wrong = model(seen(colours, replace(new, order="bgr", mean=new.mean[::-1])))
    assert (wrong - wanted).abs().max() / wanted.abs().max() > 1e-3


@torch.no_grad()
def test_imagenet_is_exact_inside_and_off_by_the_padding_at_the_border(network: nn.Module, colours: Tensor) -> None:
    model, new = folded(network, "imagenet")
    assert new == replace(IMAGENET, size=INPUT.size, resize=INPUT.resize)
    wanted, found = (net.bn1(net.conv1(seen(colours, spec))) for net, spec in ((network, INPUT), (model, new)))
    error = (found - wanted).abs() / wanted.abs().max()
    assert error[:, :, 2:-2, 2:-2].max() < 1e-12  # 7x7, stride 2, padding 3: the outermost two see the padding
    border = error.max()
    assert 1e-4 < border < 2e-2
    wanted, found = network(seen(colours, INPUT)), model(seen(colours, new))
    assert (found - wanted).abs().max() / wanted.abs().max() < 2e-2
    without = create_model("se_resnet18").double().eval()
    without.load_state_dict(model.state_dict() | {"bn1.running_mean": network.state_dict()["bn1.running_mean"]})
    inner = slice(2, -2)
    unmended = without.bn1(without.conv1(seen(colours, new)))[:, :, inner, inner]
    assert (unmended - network.bn1(network.conv1(seen(colours, INPUT)))[:, :, inner, inner]).abs().max() > 1e-3


@torch.no_grad()
def test_a_bias_takes_the_difference_up(colours: Tensor) -> None:
    conv = nn.Conv2d(3, 4, 3).double()
    tensors, new = fold_input({f"0.{name}": tensor for name, tensor in conv.state_dict().items()}, INPUT, "imagenet")
    found = nn.functional.conv2d(seen(colours, new), tensors["0.weight"], tensors["0.bias"])
    torch.testing.assert_close(found, conv(seen(colours, INPUT)), rtol=1e-12, atol=1e-12)


def test_other_tensors_and_the_given_ones_stay_as_they_are(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors, _ = fold_input(network.state_dict(), INPUT, "imagenet")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])} == {"conv1.weight", "bn1.running_mean"}


def test_float32_stays_float32() -> None:
    tensors, _ = fold_input({"0.weight": torch.randn(4, 3, 3, 3), "1.running_mean": torch.zeros(4)}, INPUT, "imagenet")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["se_bn_inception", "senet154", "vgg16_bn", "mobilenet", "inception_resnet_v2"])
def test_the_first_convolution_and_its_norm_are_found_in_every_family(name: str) -> None:
    tensors = {key: torch.rand(tensor.shape) for key, tensor in create_model(name, device="meta").state_dict().items()}
    changed = {key for key, tensor in fold_input(tensors, INPUT, "imagenet")[0].items() if not torch.equal(tensor, tensors[key])}
    weight, other = sorted(changed, key=lambda key: -tensors[key].ndim)
    assert tensors[weight].shape[1] == 3
    assert tensors[other].shape == tensors[weight].shape[:1]
    assert list(tensors).index(other) - list(tensors).index(weight) in (1, 3)  # a bias; or gamma, beta and the mean of the next module


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"to": "RGB"}, "unknown convention 'RGB'; allowed: rgb, imagenet"),
        ({"conv": "conv0"}, r"'conv0' must have a weight \(out, 3, kH, kW\) to be the first convolution, and has none"),
        ({"conv": "layer1.0.conv1"}, r"has one of shape \(64, 64, 3, 3\)"),
        ({"spec": replace(INPUT, channels=1, mean=(0.5,), std=(0.5,))}, "takes 1"),
        ({"to": "imagenet", "norm": "bn0"}, "no 'conv1.bias' or 'bn0.running_mean' can take that up"),
    ],
)
def test_what_cannot_be_folded(network: nn.Module, choice: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fold_input(network.state_dict(), **({"spec": INPUT} | choice))


def test_two_first_convolutions_need_a_name() -> None:
    tensors = {f"{name}.weight": torch.ones(4, 3, 3, 3) for name in ("left", "right")}
    with pytest.raises(UsageError, match="and 2 do: left, right; give its name as conv"):
        fold_input(tensors, INPUT)
    assert fold_input(tensors, INPUT, conv="left")[0]["right.weight"] is tensors["right.weight"]
