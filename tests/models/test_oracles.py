"""Our networks equal independent implementations, in float64, at the usual and at an odd size."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from pytorchcv.model_provider import get_model
from torch import nn

from oracles.weights import draw, rename
from senet import create_model, load_weights

TIMM = [(r"^layer0\.", ""), (r"\.se_module\.", ".se."), (r"^last_linear", "fc")]
PYTORCHCV = [
    (r"^features\.init_block\.conv\.", "conv1."),
    (r"^features\.init_block\.bn\.", "bn1."),
    (r"^features\.init_block\.weight", "conv1.weight"),
    (r"^features\.post_activ\.bn", "bn"),
    (r"^features\.stage(\d)\.unit(\d+)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}"),
    (r"body\.conv(\d)\.conv", r"conv\1"),
    (r"body\.conv(\d)\.bn", r"bn\1"),
    (r"se\.conv(\d)", r"se.fc\1"),
    (r"identity_conv\.conv", "downsample.0"),
    (r"identity_conv\.bn", "downsample.1"),
    (r"identity_conv\.weight", "downsample.weight"),
    (r"^output", "fc"),
]
V1_5 = {"v1_5": True, "stem_pool": "pad"}


def assert_equal_networks(oracle: nn.Module, ours: nn.Module, rules: list, sizes: tuple[int, ...], last: str, projection: str) -> None:
    oracle = draw(oracle.double(), last=last, projection=projection).eval()
    ours = ours.double().eval()
    ours.load_state_dict(rename(oracle.state_dict(), rules, ours.state_dict()))
    assert_equal_logits(oracle, ours, sizes)


def assert_loads_and_equals(source: str, oracle: nn.Module, name: str, sizes: tuple[int, ...], file: Path, last: str = "none") -> None:
    """Hand an oracle's weights to our network through a file, as a user does."""
    torch.save(draw(oracle, last=last, projection="none").state_dict(), file)
    ours = create_model(name).to(next(oracle.parameters()).dtype)
    assert load_weights(ours, f"{source}:{file}").release == source
    file.unlink()
    assert_equal_logits(oracle.double().eval(), ours.double().eval(), sizes)


def assert_equal_logits(oracle: nn.Module, ours: nn.Module, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            want, got = oracle(x), ours(x)
        assert 1e-2 < want.abs().max() < 1e4  # a comparison of vanishing or exploding logits would prove nothing
        error = (got - want).abs().max() / want.abs().max()
        assert error < 1e-12, f"{size} px: relative error {error:.1e}"


@pytest.mark.parametrize("depth", [50, pytest.param(101, marks=pytest.mark.slow), pytest.param(152, marks=pytest.mark.slow)])
def test_se_resnet_equals_timm_legacy(depth: int) -> None:
    oracle = timm.create_model(f"legacy_seresnet{depth}")
    assert_equal_networks(oracle, create_model(f"se_resnet{depth}"), TIMM, (224, 65), r"bn3$", r"downsample\.1$")


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_plain_resnet_equals_torchvision(depth: int) -> None:
    oracle = getattr(torchvision.models, f"resnet{depth}")()
    last = r"layer.*bn3$" if depth == 50 else r"layer.*bn2$"
    assert_equal_networks(oracle, create_model(f"resnet{depth}", **V1_5), [], (97, 65), last, r"downsample\.1$")


@pytest.mark.parametrize("option", [{"v1_5": True}, {"stem_pool": "pad"}, {}], ids=["v1_5 only", "pad only", "paper"])
def test_torchvision_needs_both_options(option: dict) -> None:
    oracle = draw(torchvision.models.resnet50().double(), last=r"layer.*bn3$", projection=r"downsample\.1$").eval()
    ours = create_model("resnet50", **option).double().eval()
    ours.load_state_dict(oracle.state_dict())
    x = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    with torch.no_grad():
        assert (oracle(x) - ours(x)).abs().max() / oracle(x).abs().max() > 1e-4


@pytest.mark.parametrize("depth", [16, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (11, 13, 19))])
def test_vgg_equals_torchvision(depth: int, tmp_path: Path) -> None:
    oracle = torchvision.models.get_model(f"vgg{depth}_bn", init_weights=False)
    assert_loads_and_equals(f"torchvision/vgg{depth}_bn", oracle, f"vgg{depth}_bn", (224, 65), tmp_path / "vgg.pth")


@pytest.mark.parametrize("name", ["mobilenet", *(f"shufflenet_g{groups}" for groups in (1, 2, 3, 4, 8))])
def test_mobile_network_equals_pytorchcv(name: str, tmp_path: Path) -> None:
    oracle = get_model(f"{name}_w1")
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 224 px images
    assert_loads_and_equals(f"pytorchcv/{name}_w1", oracle, name, (224, 65), tmp_path / "mobile.pth", last=r"expand_bn3$")


def test_bn_inception_equals_pytorchcv(tmp_path: Path) -> None:
    oracle = get_model("bninception").double()  # its biases are folded when the file is read: in float32 that alone rounds
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 224 px images
    assert_loads_and_equals("pytorchcv/bninception", oracle, "bn_inception", (224, 161), tmp_path / "inception.pth")


@pytest.mark.parametrize("sizes", [(107, 139), pytest.param((299,), marks=pytest.mark.slow)], ids=["odd", "usual"])
@pytest.mark.parametrize("source", ["timm/inception_resnet_v2", "pytorchcv/inceptionresnetv2"])
def test_inception_resnet_equals_timm_and_pytorchcv(source: str, sizes: tuple[int, ...], tmp_path: Path) -> None:
    library, name = source.split("/")
    oracle = timm.create_model(name) if library == "timm" else get_model(name)
    if library == "pytorchcv":
        oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 299 px images
    assert_loads_and_equals(source, oracle, "inception_resnet_v2", sizes, tmp_path / "inception.pth")


@pytest.mark.parametrize(
    ("theirs", "ours", "options"),
    [
        ("resnet20_cifar10", "cifar_resnet20", {}),
        ("seresnet20_cifar10", "se_cifar_resnet20", {}),
        ("seresnet56_cifar10", "se_cifar_resnet56", {}),
        ("preresnet20_cifar10", "preresnet20", {"first_shortcut": "raw"}),
        ("preresnet164bn_cifar10", "preresnet164", {"v1_5": True}),
    ],
)
def test_cifar_network_equals_pytorchcv(theirs: str, ours: str, options: dict) -> None:
    last = r"body\.conv2\.bn$" if theirs.startswith(("resnet", "seresnet")) else r"body\.conv[23]\.bn$"
    oracle = get_model(theirs)
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to 32 px images
    assert_equal_networks(oracle, create_model(ours, **options), PYTORCHCV, (32, 45), last, r"identity_conv\.bn$")


def test_wide_resnet_equals_pytorchcv() -> None:
    from pytorchcv.models.wrn_cifar import get_wrn_cifar

    oracle = get_wrn_cifar(num_classes=10, blocks=16, width_factor=8)
    oracle.features.final_pool = nn.AdaptiveAvgPool2d(1)
    assert_equal_networks(oracle, create_model("wrn16_8"), PYTORCHCV, (32,), r"body\.conv2\.bn$", "none")


def test_first_shortcut_is_a_real_choice() -> None:
    x = torch.randn(2, 3, 32, 32)
    activated, raw = create_model("preresnet20").eval(), create_model("preresnet20", first_shortcut="raw").eval()
    raw.load_state_dict(activated.state_dict())
    assert not torch.allclose(activated(x), raw(x), rtol=1e-3)
