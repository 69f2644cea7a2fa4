"""From a BlockSpec to a module."""

from torch import nn

from senet.errors import UsageError
from senet.spec import BlockSpec, block_class


def build_block(spec: BlockSpec, channels: int) -> nn.Module:
    """Build the block of a spec for maps of `channels` channels.

    Raises:
        UsageError: if the spec still has options that differ by stage or unit (`BlockSpec.at_unit` resolves them), or the block cannot be
            built for that many channels.
    """
    for name, value in spec.options.items():
        if isinstance(value, dict):
            raise UsageError(f"{name} differs by stage ({value}): resolve it first with spec.at_unit(stage, index)")
    return block_class(spec.kind)(channels, **spec.options)
