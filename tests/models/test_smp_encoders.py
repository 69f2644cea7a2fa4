"""The zoo's networks as encoders of segmentation_models_pytorch, against its own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.encoders import encoders
from torch import nn

import senet
from senet.errors import UsageError
from senet.models.smp_encoders import SmpEncoder, register_smp_encoders

LIKE_SMP = {"v1_5": True, "stem_pool": "pad"}
DECODERS = ("Unet", "UnetPlusPlus", "FPN", "Linknet", "MAnet", "PSPNet", "DeepLabV3Plus", "DeepLabV3", "PAN", "UPerNet")


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    before = dict(encoders)
    yield
    encoders.clear()
    encoders.update(before)


def network(decoder: str, encoder: str, **options: Any) -> Any:
    return getattr(smp, decoder)(encoder, encoder_weights=None, classes=2, **options).eval()


@pytest.mark.parametrize("decoder", DECODERS)
def test_networks_compute_what_they_do_with_the_encoder_of_smp(decoder: str) -> None:
    register_smp_encoders("resnet18", **LIKE_SMP)
    torch.manual_seed(0)
    theirs, ours = network(decoder, "resnet18").double(), network(decoder, "senet-resnet18").double()
    state = {name.replace("encoder.", "encoder.pyramid.network.", 1): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(state)
    assert ours.get_submodule("encoder").out_channels == theirs.get_submodule("encoder").out_channels
    x = torch.randn(1, 3, 128, 128, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_a_vgg_computes_what_it_does_in_smp() -> None:
    register_smp_encoders("vgg11_bn")
    ours, theirs = SmpEncoder("vgg11_bn").double().eval(), network("FPN", "vgg11_bn").get_submodule("encoder").double().eval()
    ours.pyramid.network.load_state_dict(theirs.state_dict())
    assert ours.out_channels == theirs.out_channels
    x = torch.randn(1, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        for own, other in zip(ours(x), theirs(x), strict=True):
            assert torch.allclose(own, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        *("se_resnet50", "scse_resnet18", "cmpe_se_resnet18", "senet154", "se_vgg11_bn", "se_mobilenet", "se_shufflenet_g3"),
        *("se_bn_inception", "se_inception_resnet_v2", "sse_resnext50_32x4d"),
    ],
)
def test_every_family_gives_an_unet_its_maps(name: str) -> None:
    with torch.device("meta"):
        model = register_and_build(name).eval()
        maps = model.get_submodule("encoder")(torch.empty(1, 3, 64, 96))
        assert model(torch.empty(1, 3, 64, 96)).shape == (1, 2, 64, 96)
        assert model(torch.empty(1, 3, 81, 97)).shape == (1, 2, 81, 97)
    encoder: Any = model.get_submodule("encoder")
    assert [tuple(tensor.shape[1:]) for tensor in maps] == [
        (channels, 64 >> level, 96 >> level) for level, channels in enumerate(encoder.out_channels)
    ]


def register_and_build(name: str) -> Any:
    register_smp_encoders(name)
    return network("Unet", f"senet-{name}")


def test_gradients_reach_every_parameter_that_a_decoder_uses() -> None:
    register_smp_encoders("se_resnet18")
    model = network("Unet", "senet-se_resnet18", in_channels=1).train()
    model(torch.randn(2, 1, 64, 64)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_fewer_levels_and_the_image_as_the_first_map() -> None:
    register_smp_encoders("cifar_resnet20")
    encoder = SmpEncoder("se_resnet18", depth=3)
    x = torch.randn(1, 3, 32, 32)
    maps = encoder(x)
    assert len(maps) == 4
    assert maps[0] is x
    assert encoder.output_stride == 8
    model = network("Unet", "senet-cifar_resnet20", encoder_depth=2, decoder_channels=(16, 8))
    assert model(torch.randn(1, 3, 30, 22)).shape == (1, 2, 30, 22)
    with pytest.raises(UsageError, match="cifar_resnet20 halves the resolution 2 times: encoder_depth=5 is to be 2 at most"):
        network("Unet", "senet-cifar_resnet20")


@pytest.mark.parametrize("how", ["registered", "loaded"])
def test_trained_weights(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = senet.create_model("se_resnet18", num_classes=5, **LIKE_SMP)
    senet.save_weights(trained, tmp_path / "trained.safetensors")
    weights = {"weights": tmp_path / "trained.safetensors"} if how == "registered" else {}
    register_smp_encoders("se_resnet18", prefix="mine-", **weights, **LIKE_SMP)
    model = network("Unet", "mine-se_resnet18")
    if how == "loaded":
        senet.load_weights(model.get_submodule("encoder"), tmp_path / "trained.safetensors")
    for name, tensor in model.get_submodule("encoder.pyramid.network").state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]), name


def test_trained_kernels_are_spread_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = senet.create_model("se_resnet18")
    senet.save_weights(trained, tmp_path / "trained.safetensors")
    register_smp_encoders("se_resnet18", weights=tmp_path / "trained.safetensors")
    caplog.clear()
    model = network("Unet", "senet-se_resnet18", in_channels=1)
    state = model.get_submodule("encoder.pyramid.network").state_dict()
    assert torch.allclose(state["conv1.weight"], trained.state_dict()["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(state["layer4.1.se.fc2.weight"], trained.state_dict()["layer4.1.se.fc2.weight"])
    assert "conv1.weight is spread from 3 to 1 channels" in caplog.text
    assert model.get_submodule("encoder").config.options["in_channels"] == 1


def test_blocks_are_not_dilated() -> None:
    encoder = SmpEncoder("cmpe_se_resnet18", options={"block": "auto"})
    encoder.make_dilated(8)
    network = encoder.pyramid.network
    dilations = {name: module.dilation for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert {dilation for name, dilation in dilations.items() if ".se." in name} <= {(1, 1)}
    assert {dilation for name, dilation in dilations.items() if name.startswith("layer4") and ".se." not in name} == {(4, 4)}


@pytest.mark.parametrize("name", ["se_vgg11_bn", "shufflenet_g1", "bn_inception", "inception_resnet_v2"])
def test_pools_are_not_dilated(name: str) -> None:
    register_smp_encoders(name)
    with torch.device("meta"), pytest.raises(UsageError, match="halves the resolution by pools"):
        network("DeepLabV3Plus", f"senet-{name}")


def test_options_and_blocks_reach_the_network() -> None:
    register_smp_encoders("resnet18", prefix="half-", block=senet.BlockSpec("scse", combine="max"), stages=(3, 4))
    encoder: Any = network("Unet", "half-resnet18", in_channels=4).get_submodule("encoder")
    assert {name.split(".")[0] for name, module in encoder.headless.named_modules() if isinstance(module, senet.ChannelSpatialSE)} == {
        "layer2",
        "layer3",
    }
    assert encoder.config.options["in_channels"] == 4
    assert encoder.out_channels[0] == 4


def test_names_are_those_of_the_zoo() -> None:
    assert set(register_smp_encoders("se_resnet*")) == {f"senet-se_resnet{depth}" for depth in (18, 34, 50, 101, 152)} & set(encoders)
    with pytest.raises(UsageError, match="unknown networks for smp 'se_resnet5'"):
        register_smp_encoders("se_resnet5")


def test_smp_is_needed_for_registration_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch.encoders", None)
    with pytest.raises(UsageError, match="pip install segmentation-models-pytorch"):
        register_smp_encoders()
