"""Channel surgery by Torch-Pruning: its graph of dependent layers is found, channels are halved, and the network runs on."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet.blocks.kinds import is_block

pruning: Any = pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install torch-pruning")

NAMES = [
    *("se_resnet18", "se_preresnet20", "cmpe_se_cifar_resnet20", "cmpe_se_preresnet20", "se_mobilenet"),
    *("sse_cifar_resnet20", "scse_preresnet20", "scse_resnet18"),
]


class SpatialPruner(pruning.function.BasePruningFunc):
    """What Torch-Pruning has to be told of sSE: its graph takes a gate of one channel, which is broadcast, for a map of as many."""

    def prune_in_channels(self, layer: senet.SpatialSE, idxs: list[int]) -> nn.Module:
        pruning.prune_conv_in_channels(layer.conv, idxs)
        return layer

    prune_out_channels = prune_in_channels

    def get_in_channels(self, layer: senet.SpatialSE) -> int:
        return layer.channels

    get_out_channels = get_in_channels


def halve(model: nn.Module, images: torch.Tensor, head: nn.Module) -> None:
    """Halve every width but that of the head."""
    with warnings.catch_warnings(), senet.backend("reference"):
        warnings.simplefilter("ignore")
        importance = pruning.importance.MagnitudeImportance(p=2)
        own = {senet.SpatialSE: SpatialPruner()}
        pruner = pruning.pruner.BasePruner(
            model, images, importance, pruning_ratio=0.5, ignored_layers=[head], round_to=1, customized_pruners=own
        )
        pruner.step()


def check(model: Any, images: torch.Tensor, head: nn.Linear) -> None:
    """Halve the channels of a network, and hold what must be so of it then: widths, outputs, gradients, the inference form."""
    before = copy.deepcopy(model)
    halve(model, images, head)
    blocks = [(path, module) for path, module in model.named_modules() if is_block(module)]
    assert blocks
    for path, block in blocks:
        old = before.get_submodule(path)
        assert block.channels == old.channels // 2, path
        assert getattr(block, "hidden", 0) in (getattr(old, "hidden", 0) // 2, 1), path
        assert f"{block.channels}" in repr(block)
    convolutions = {path: conv for path, conv in model.named_modules() if isinstance(conv, nn.Conv2d) and conv.out_channels > 1}
    assert all(2 * len(conv.weight) == len(before.get_submodule(path).weight) for path, conv in convolutions.items())
    out = model.train()(images)
    assert out.shape == (len(images), head.out_features)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    with torch.no_grad():
        want = model.eval()(images)
        torch.testing.assert_close(senet.optimize(model)(images), want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_channels_of_the_zoo_are_halved(name: str) -> None:
    torch.manual_seed(0)
    model = senet.create_model(name, num_classes=10)
    side = 32 if "cifar" in name or "preresnet" in name else 64
    check(model, torch.randn(2, 3, side, side), model.fc)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("block", ["se", "scse"])
def test_channels_of_another_librarys_network_are_halved(block: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    senet.insert(model, block)
    check(model, torch.randn(2, 3, 64, 64), model.fc)
