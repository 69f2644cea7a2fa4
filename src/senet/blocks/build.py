"""From a BlockSpec to a module."""

from typing import Any

from torch import nn

from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.spatial import SpatialSE
from senet.errors import UsageError
from senet.spec import BlockSpec

BLOCKS: dict[str, Any] = {"se": ChannelSE, "sse": SpatialSE, "scse": ChannelSpatialSE, "cmpe_se": CompetitiveSE}


def build_block(spec: BlockSpec, channels: int) -> nn.Module:
    """Build the block of a spec for maps of `channels` channels.

    Raises:
        UsageError: if the spec still has per-stage fields (`BlockSpec.at_stage` resolves them), or the block cannot be built for that many
            channels.
    """
    options = spec.options()
    for name, value in options.items():
        if isinstance(value, dict):
            raise UsageError(f"{name} differs by stage ({value}): resolve it first with spec.at_stage(stage)")
    return BLOCKS[spec.kind](channels, **options)
