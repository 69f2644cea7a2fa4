import torch
from torch import nn

import senet
from senet.blocks.channel import ChannelSE
from senet.insertion.gains import gains
from senet.insertion.gated import Gated


def test_wrapped_blocks_have_their_wrappers_factor() -> None:
    first, second = ChannelSE(4, 2), ChannelSE(4, 2)
    model = nn.Sequential(Gated(nn.Conv2d(3, 4, 1), first, gain=2.0), Gated(nn.Identity(), second), ChannelSE(4, 2))
    assert gains(model) == {first: 2.0, second: 1.0}


def test_blocks_in_rewritten_forwards_have_their_plans_factor() -> None:
    model = senet.create_model("preresnet20")
    plan = senet.insert(model, "cmpe_se", init="identity", example_input=torch.randn(1, 3, 16, 16))
    assert {site.position for site in plan} == {"graph"}
    assert [*gains(model).values()] == [site.gain for site in plan] == [2.0] * 9
    assert {type(block).__name__ for block in gains(model)} == {"CompetitiveSE"}


def test_blocks_of_the_zoo_have_none() -> None:
    assert gains(senet.create_model("se_preresnet20")) == {}
