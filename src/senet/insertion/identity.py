"""Let a block begin as the identity, so that a trained network goes on from where it was."""

from collections.abc import Callable

import torch
from torch import nn

from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.spatial import SpatialSE
from senet.errors import UsageError

GATE_AT_ZERO = {"sigmoid": 0.5, "hard_sigmoid": 0.5, "relu": 1.0}
"""What a gate gives when its last layer's weights are 0; the ReLU's bias is set to 1, where it learns."""


def start_as_identity(block: nn.Module) -> float:
    """Set the weights of a block so that, times the returned gain, it changes nothing yet.

    The last layer before the gate becomes 0. A sigmoid then gives 1/2, which the gain of 2 makes 1. There it is steepest: the last layer
    learns from the first step, the others from the second. A bias that saturated the sigmoid at 1 would leave no gradient.

    Args:
        block: one of this package's blocks.

    Returns:
        The constant factor that belongs behind the block.

    Raises:
        UsageError: if the block cannot begin as the identity; it says why.
    """
    with torch.no_grad():
        return STARTS[type(block)](block)


def _channel(block: ChannelSE) -> float:
    if block.gate_name not in GATE_AT_ZERO:
        raise UsageError(
            f"a block with gate={block.gate_name!r} cannot start as the identity: tanh is 1 only where it is saturated and learns no more; "
            f"use one of {', '.join(GATE_AT_ZERO)}, or init='paper'"
        )
    if block.gate_name == "relu" and block.fc2.bias is None:
        raise UsageError("a block with gate='relu' and bias=False cannot start as the identity: only a bias could open its gate")
    nn.init.zeros_(block.fc2.weight)
    if block.fc2.bias is not None:
        nn.init.constant_(block.fc2.bias, 1.0 if block.gate_name == "relu" else 0.0)
    return 1 / GATE_AT_ZERO[block.gate_name]


def _spatial(block: SpatialSE) -> float:
    nn.init.zeros_(block.conv.weight)
    if block.conv.bias is not None:
        nn.init.zeros_(block.conv.bias)
    return 2.0


def _channel_spatial(block: ChannelSpatialSE) -> float:
    if block.combine == "multiply":
        raise UsageError(
            "an scSE block with combine='multiply' cannot start as the identity: it gives x * x times its gates; use 'add', 'max' or "
            "'concat', or init='paper'"
        )
    _channel(block.cse)
    _spatial(block.sse)
    if block.merge is not None:  # both halves come at one half: their sum is the input
        eye = torch.eye(block.channels, device=block.merge.weight.device, dtype=block.merge.weight.dtype)
        block.merge.weight.copy_(torch.cat((eye, eye), 1)[..., None, None])
        if block.merge.bias is not None:
            nn.init.zeros_(block.merge.bias)
    return 2.0 if block.combine == "max" else 1.0


def _competitive(block: CompetitiveSE) -> float:
    last = block.fc_out if block.variant == "double_fc" else block.fc2
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return 2.0


STARTS: dict[type[nn.Module], Callable[..., float]] = {
    ChannelSE: _channel,
    SpatialSE: _spatial,
    ChannelSpatialSE: _channel_spatial,
    CompetitiveSE: _competitive,
}
