"""The parts of a network as a reader knows them."""

from torch import nn

from senet import create_model
from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.measuring.parts import block_paths, owner, unit_paths


def test_parts_are_what_a_reader_knows():
    model = create_model("se_preresnet20")
    assert [path for path in unit_paths(model) if path.startswith("layer2")] == ["layer2.0", "layer2.1", "layer2.2"]
    assert {"conv1", "fc"} < set(unit_paths(model))
    assert unit_paths(ChannelSE(8)) == []


def test_owner_is_the_innermost_part():
    paths = ["layer1.0", "layer1.0.se"]
    assert [owner(path, paths) for path in ("layer1.0.se.fc1", "layer1.0.conv1", "layer1", "")] == ["layer1.0.se", "layer1.0", "", ""]


def test_blocks_inside_blocks_belong_to_the_outer_one():
    assert block_paths(nn.Sequential(nn.Conv2d(3, 8, 1), ChannelSpatialSE(8), ChannelSE(8))) == ["1", "2"]
    assert block_paths(ChannelSpatialSE(8)) == [""]
