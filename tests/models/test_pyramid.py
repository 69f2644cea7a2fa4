"""The maps at every resolution: their shapes, and that they are the network's own."""

import re
from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet.errors import UsageError
from senet.models.encoder_request import CLASSIFIERS
from senet.models.pyramid import Pyramid

FULL = {name for name in CLASSIFIERS if name.startswith(("vgg", "cifar", "preresnet", "wrn", "shake"))}
"""Networks that have a map of the image's resolution."""


def pyramid(name: str, coarsest: int | None = None, **options: Any) -> Pyramid:
    network: Any = senet.create_model(name, **options)
    return Pyramid(network, coarsest).eval()


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if not re.search("101|152|56|110|164|wrn2", name)])
def test_there_is_one_map_for_each_resolution_rounded_at_odd_sizes(name: str) -> None:
    maps = pyramid(name, device="meta")
    given = maps(torch.empty(2, 3, 96, 64, device="meta"))
    strides = [info["stride"] for info in maps.feature_info]
    levels: Any = senet.create_model(name, device="meta")
    assert strides == [stride for stride in (1, 2, 4, 8, 16, 32) if (stride > 1 or name in FULL) and stride <= strides[-1]]
    assert strides[-1] == levels.feature_info[-1]["stride"]
    for tensor, info in zip(given, maps.feature_info, strict=True):
        assert tensor.shape == (2, info["channels"], 96 // info["stride"], 64 // info["stride"])

    for tensor, info in zip(maps(torch.empty(1, 3, 97, 75, device="meta")), maps.feature_info, strict=True):
        height, width = tensor.shape[2:]
        assert abs(height - 97 / info["stride"]) < 1
        assert abs(width - 75 / info["stride"]) < 1


@pytest.mark.parametrize("name", ["se_resnet18", "senet154", "vgg11_bn", "shufflenet_g3", "bn_inception", "scse_preresnet20", "mobilenet"])
def test_maps_are_those_of_the_classifier(name: str) -> None:
    torch.manual_seed(0)
    network: Any = senet.create_model(name, block=None if name == "senet154" else "auto").eval()
    x = torch.randn(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        whole = network.forward_features(x)
        if hasattr(network, "maxpool"):
            network.maxpool.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
        pyramid = Pyramid(network)
        maps = pyramid(x)
    assert torch.equal(maps[-1], whole) or torch.allclose(maps[-1], whole, atol=1e-5)  # a stage at a time rounds otherwise
    if seen:
        assert torch.equal(maps[0], seen[0])
    assert [tensor.shape[1] for tensor in maps] == [info["channels"] for info in pyramid.feature_info]


def test_maps_down_to_a_stride_need_no_later_stage() -> None:
    maps = pyramid("se_resnet18", 8, device="meta")
    ran = []
    for name, stage in maps.network.named_children():
        stage.register_forward_hook(lambda *_, name=name: ran.append(name))
    assert len(maps(torch.empty(1, 3, 64, 64, device="meta"))) == 3
    assert "layer2" in ran
    assert "layer3" not in ran


def test_the_last_pool_of_a_vgg_gives_stride_32() -> None:
    maps = pyramid("vgg11_bn", 32)
    given = maps(torch.randn(1, 3, 64, 32))
    assert [tuple(tensor.shape[2:]) for tensor in given[-2:]] == [(4, 2), (2, 1)]
    assert torch.equal(given[-1], nn.functional.max_pool2d(given[-2], 2))


def test_the_last_map_of_a_preactivation_network_is_rectified() -> None:
    maps = pyramid("preresnet20")(torch.randn(2, 3, 16, 16))
    assert (maps[-1] >= 0).all()
    assert (maps[0] < 0).any()


def test_padding_keeps_the_weights_of_an_inception() -> None:
    network: Any = senet.create_model("inception_resnet_v2", counts=(1, 1, 1))
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    assert {name: tensor.shape for name, tensor in Pyramid(network).network.state_dict().items()} == shapes


def test_a_stride_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="preresnet20 has maps of the strides 1, 2, 4, none of 8"):
        pyramid("preresnet20", 8, device="meta")
