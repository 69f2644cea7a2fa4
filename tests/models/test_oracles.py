"""Our networks equal independent implementations, in float64, at an even and at an odd size.

96 px are halved as the usual 224 are: to even maps but for the last.
"""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from pytorchcv.model_provider import get_model
from pytorchcv.models.wrn_cifar import get_wrn_cifar
from torch import nn

from oracles.libraries import assert_equal_networks, oracle, save_as
from oracles.weights import draw
from senet import create_model, load_weights
from senet.weights.releases.library import Release
from senet.weights.releases.pytorchcv import PRERESNET_RULES


def assert_loads_and_equals(source: str, oracle: nn.Module, name: str, sizes: tuple[int, ...], file: Path, last: str = "none") -> None:
    """Hand an oracle's weights to our network through a file, as a user does."""
    torch.save(draw(oracle, last=last, projection="none").state_dict(), file)
    ours = create_model(name).to(next(oracle.parameters()).dtype)
    assert load_weights(ours, f"{source}:{file}").release == source
    file.unlink()
    assert_equal_networks(oracle.eval(), ours, *sizes)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("source", "name", "sizes"),
    [
        ("timm/legacy_seresnet50", "se_resnet50", (96, 65)),
        pytest.param("timm/legacy_seresnet101", "se_resnet101", (224, 65), marks=SLOW),
        pytest.param("timm/legacy_seresnet152", "se_resnet152", (224, 65), marks=SLOW),
        ("timm/legacy_seresnext50_32x4d", "se_resnext50_32x4d", (96, 65)),
        pytest.param("timm/legacy_seresnext101_32x4d", "se_resnext101_32x4d", (224, 65), marks=SLOW),
        ("timm/legacy_senet154", "senet154", (64, 65)),
        pytest.param("timm/legacy_senet154", "senet154", (224,), marks=SLOW),
        ("torchvision/resnet18", "resnet18", (96, 65)),
        ("torchvision/resnet34", "resnet34", (96, 65)),
        ("torchvision/resnet50", "resnet50", (96, 65)),
        ("torchvision/resnext50_32x4d", "resnext50_32x4d", (96, 65)),
        ("pytorchcv/resnet20_cifar10", "cifar_resnet20", (32, 45)),
        ("pytorchcv/seresnet20_cifar10", "se_cifar_resnet20", (32, 45)),
        ("pytorchcv/seresnet56_cifar10", "se_cifar_resnet56", (32, 45)),
        ("pytorchcv/preresnet20_cifar10", "preresnet20", (32, 45)),
        ("pytorchcv/preresnet164bn_cifar10", "preresnet164", (32, 45)),
    ],
)
def test_resnet_equals_its_oracle(source: str, name: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    theirs = oracle(*source.split("/"))
    file = save_as(source.split("/")[0], theirs, tmp_path / "weights.safetensors")
    ours = create_model(name, weights=f"{source}:{file}")
    file.unlink()
    assert_equal_networks(theirs, ours, *sizes)


@torch.no_grad()
def test_torchvision_needs_both_options() -> None:
    theirs = oracle("torchvision", "resnet50").double()
    x = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    want = theirs(x)
    both, *others = {"v1_5": True, "stem_pool": "pad"}, {"v1_5": True}, {"stem_pool": "pad"}, {}
    for options in (both, *others):
        ours = create_model("resnet50", device="meta", **options).eval()
        ours.load_state_dict(theirs.state_dict(), assign=True)
        assert ((want - ours(x)).abs().max() / want.abs().max() > 1e-4) == (options in others), options


@pytest.mark.parametrize("depth", [16, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (11, 13, 19))])
def test_vgg_equals_torchvision(depth: int, tmp_path: Path) -> None:
    oracle = torchvision.models.get_model(f"vgg{depth}_bn", init_weights=False)
    assert_loads_and_equals(f"torchvision/vgg{depth}_bn", oracle, f"vgg{depth}_bn", (96, 65), tmp_path / "vgg.pth")


@pytest.mark.parametrize("name", ["mobilenet", *(f"shufflenet_g{groups}" for groups in (1, 2, 3, 4, 8))])
def test_mobile_network_equals_pytorchcv(name: str, tmp_path: Path) -> None:
    oracle = get_model(f"{name}_w1")
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 224 px images
    assert_loads_and_equals(f"pytorchcv/{name}_w1", oracle, name, (96, 65), tmp_path / "mobile.pth", last=r"expand_bn3$")


def test_bn_inception_equals_pytorchcv(tmp_path: Path) -> None:
    oracle = get_model("bninception").double()  # its biases are folded when the file is read: in float32 that alone rounds
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 224 px images
    assert_loads_and_equals("pytorchcv/bninception", oracle, "bn_inception", (96, 97), tmp_path / "inception.pth")


@pytest.mark.parametrize("sizes", [(107, 92), pytest.param((299,), marks=pytest.mark.slow)], ids=["small", "usual"])
@pytest.mark.parametrize("source", ["timm/inception_resnet_v2", "pytorchcv/inceptionresnetv2"])
def test_inception_resnet_equals_timm_and_pytorchcv(source: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    library, name = source.split("/")
    oracle = timm.create_model(name) if library == "timm" else get_model(name)
    if library == "pytorchcv":
        oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 299 px images
    assert_loads_and_equals(source, oracle, "inception_resnet_v2", sizes, tmp_path / "inception.pth")


def test_wide_resnet_equals_pytorchcv() -> None:
    """Its release is twelve layers deeper; the names are the same."""
    theirs = get_wrn_cifar(num_classes=10, blocks=16, width_factor=8)
    theirs.features.final_pool = nn.AdaptiveAvgPool2d(1)
    draw(theirs, last=r"body\.conv2\.bn$", projection="none")
    ours = create_model("wrn16_8")
    ours.load_state_dict(Release("wrn16_8", "wrn16_8_cifar10", PRERESNET_RULES).translate(theirs.state_dict(), ours.state_dict()))
    assert_equal_networks(theirs.eval(), ours, 32)


def test_first_shortcut_is_a_real_choice() -> None:
    x = torch.randn(2, 3, 32, 32)
    activated, raw = create_model("preresnet20").eval(), create_model("preresnet20", first_shortcut="raw").eval()
    raw.load_state_dict(activated.state_dict())
    assert not torch.allclose(activated(x), raw(x), rtol=1e-3)
