"""From a BlockSpec to a module."""

from typing import Any

from torch import nn

from senet.blocks.channel import ChannelSE
from senet.errors import UsageError
from senet.spec import BlockSpec

BLOCKS: dict[str, Any] = {"se": ChannelSE}


def build_block(spec: BlockSpec, channels: int) -> nn.Module:
    """Build the block of a spec for maps of `channels` channels.

    Raises:
        UsageError: if the spec still has per-stage fields (`BlockSpec.at_stage` resolves them) or `channels` is below 1.
    """
    for name, value in spec.to_dict().items():
        if isinstance(value, dict):
            raise UsageError(f"{name} differs by stage ({value}): resolve it first with spec.at_stage(stage)")
    options = spec.options()
    if spec.reduction is not None:
        options["reduction"] = spec.reduction
    return BLOCKS[spec.kind](channels, **options)
