"""Blocks that differ by unit, inserted."""

from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet import BlockSpec
from senet.errors import UsageError
from senet.insertion.unit_numbers import site_units

BY_UNIT = BlockSpec("se", hidden={1: 2, 2: 4, "2_3": 7, "3_1": 5, 3: 8})


def test_inserted_units_are_numbered_as_the_zoo_numbers_its_own() -> None:
    host: Any = senet.create_model("cifar_resnet20")
    plan = senet.insert(host, BY_UNIT, example_input=torch.zeros(1, 3, 32, 32))
    zoo: Any = senet.create_model("cifar_resnet20", block=BY_UNIT, device="meta")
    inserted = [site.block.hidden for site in plan]
    assert inserted == [block.hidden for block in zoo.modules() if isinstance(block, senet.ChannelSE)] == [2, 2, 2, 4, 4, 7, 5, 8, 8]
    assert inserted == [block.hidden for block in host.modules() if isinstance(block, senet.ChannelSE)]
    assert site_units(plan) == [(stage, index) for stage in (1, 2, 3) for index in (1, 2, 3)]


def test_named_modules_are_numbered_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plan = senet.find_sites(model, BlockSpec("se", hidden={1: 2, "1_2": 3}), at="[01]", example_input=torch.zeros(1, 3, 8, 8))
    assert [site.block.hidden for site in plan] == [2, 3]


def test_units_that_are_not_there_are_refused() -> None:
    host = senet.create_model("cifar_resnet20")
    spec = BlockSpec("se", hidden={1: 2, 2: 4, 3: 8, "3_4": 1})
    with pytest.raises(UsageError, match="hidden names unit 4 of stage 3, where no site is; there are 3 in stage 1"):
        senet.find_sites(host, spec)
    with pytest.raises(UsageError, match="hidden says nothing about stage 3 or its unit 1; it names 1, 2, 2_1"):
        senet.find_sites(host, BlockSpec("se", hidden={1: 2, 2: 4, "2_1": 1}))
