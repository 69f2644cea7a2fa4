"""From specs to blocks."""

import pytest

from senet import BlockSpec, ChannelSE, ChannelSpatialSE, CompetitiveSE, SpatialSE, build_block
from senet.errors import UsageError


def test_each_kind_gives_its_class() -> None:
    kinds = {"se": ChannelSE, "sse": SpatialSE, "scse": ChannelSpatialSE, "cmpe_se": CompetitiveSE}
    assert {kind: type(build_block(BlockSpec(kind), 32)) for kind in kinds} == kinds


def test_options_reach_the_block() -> None:
    assert build_block(BlockSpec("scse", reduction=4, combine="max", bias=False), 32).cse.hidden == 8
    block = build_block(BlockSpec("cmpe_se", variant="folded_3x3", fold="rows", fold_size=4, maps=5, hidden=3, bias=True), 32)
    assert (block.columns, block.conv.out_channels, block.hidden, block.fc1.bias is not None) == (8, 5, 3, True)


def test_values_per_stage_must_be_resolved_first() -> None:
    spec = BlockSpec("scse", reduction={1: 2, 2: 4})
    with pytest.raises(UsageError, match="resolve it first"):
        build_block(spec, 32)
    assert build_block(spec.at_unit(2, 1), 32).cse.hidden == 8
