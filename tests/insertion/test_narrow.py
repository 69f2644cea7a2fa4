"""A block whose few hidden units may all be shut at the start is warned of in the plan, with the remedy."""

import pytest
import torch
import torchvision
from torch import nn

import senet
from foreign.networks import Unit
from senet.insertion.narrow import NARROW, bottleneck
from senet.spec import BlockSpec

WARNING = "all may start shut"


@pytest.mark.parametrize(
    ("block", "channels", "width"),
    [
        (BlockSpec("se"), 32, 2),
        (BlockSpec("se"), 8, 1),
        (BlockSpec("se", reduction=4), 32, 8),
        (BlockSpec("se", hidden=3), 512, 3),
        (BlockSpec("scse"), 4, 2),
        (BlockSpec("cmpe_se"), 48, 3),
        (BlockSpec("sse"), 8, None),
    ],
    ids=str,
)
def test_the_width_is_that_of_the_block(block: BlockSpec, channels: int, width: int | None) -> None:
    assert bottleneck(block, channels) == width
    if width is not None:
        built = senet.build_block(block, channels)
        widths = {layer.out_features for layer in built.modules() if isinstance(layer, nn.Linear)}
        assert width in widths


def test_the_plan_warns_and_the_remedy_helps() -> None:
    model = torchvision.models.densenet121(weights=None)
    (warned,) = [line for line in str(senet.find_sites(model)).splitlines() if WARNING in line]
    assert warned.startswith("58 sites, from features.denseblock1.denselayer1")
    assert warned.endswith(
        "2 hidden units for 32 channels: all may start shut, and such a block does not learn; hidden=4 or reduction=8 gives more"
    )
    for remedy in (BlockSpec("se", hidden=4), BlockSpec("se", reduction=8)):
        plan = senet.find_sites(model, remedy)
        assert WARNING not in str(plan)
        assert {bottleneck(site.block, site.channels) for site in plan} == {NARROW}


def test_only_the_narrow_ones_are_named() -> None:
    plan = senet.find_sites(nn.Sequential(nn.Conv2d(3, 8, 1), Unit(8, nn.ReLU()), nn.Conv2d(8, 64, 1), Unit(64, nn.ReLU())))
    lines = [line for line in plan.remarks() if WARNING in line]
    assert [line.partition(":")[0] for line in lines] == ["1.bn"]
    assert "1 hidden unit for 8 channels" in lines[0]
    assert not any(WARNING in line for line in plan.keep(paths="^3").remarks())


def test_what_is_warned_of_happens() -> None:
    """Only the last bias of a block with shut hidden units has a gradient, whatever the image."""
    block = senet.ChannelSE(8, hidden=1)
    nn.init.constant_(block.fc1.weight, -1.0)
    block(torch.rand(2, 8, 4, 4)).sum().backward()
    gradients = {name: bool(weight.grad.any()) for name, weight in block.named_parameters() if weight.grad is not None}
    assert gradients == {"fc1.weight": False, "fc1.bias": False, "fc2.weight": False, "fc2.bias": True}
