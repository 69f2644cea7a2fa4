"""What is left of a block whose gate is constant: a factor a channel, or nothing."""

from typing import Any

import torch
from torch import Tensor, nn


class ChannelScale(nn.Module):
    """Multiplication of every channel by a constant.

    Args:
        channels: channels C of the input.

    Attributes:
        scale: (C,) the factors, a buffer; 1 until they are set or loaded.
    """

    squeezed_maps = 0
    scaled_maps = 1
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(channels))

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        """Return x, (N, C, ...), with every channel multiplied by its factor; what else a block is given does not matter."""
        return x * self.scale.to(x.dtype).view(-1, *[1] * (x.ndim - 2))

    def extra_repr(self) -> str:
        """Return the channels."""
        return str(len(self.scale))


class PassThrough(nn.Module):
    """Stand-in for a block that is folded into its neighbours."""

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        """Return x as it is; what else a block is given does not matter."""
        return x
