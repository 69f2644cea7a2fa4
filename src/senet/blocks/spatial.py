"""Spatial Squeeze-and-Excitation: sSE, one gate a position."""

from functools import partial

import torch
from torch import Tensor, nn

from senet.blocks.initialise import init_fan_in_, zero_
from senet.blocks.layers import call, check_channels, gate_type, is_plain_layer, widths
from senet.blocks.layout import ImageWeights
from senet.blocks.precision import without_autocast
from senet.ops import reference
from senet.ops.tail.gates import Gates, Projection
from senet.spec import PLACEMENTS, check_positive


class SpatialSE(ImageWeights):
    """Recalibration of positions by gates computed from all channels there (Roy et al., 1803.02579).

    Half-precision inputs or weights are projected and gated in float32; only the gate is cast back to the input's type.

    Args:
        channels: channels C of the input.
        bias: a bias in the projection to one channel, as in the authors' code.

    Raises:
        UsageError: if `channels` is below 1.
    """

    title = "sSE"
    paper = ("Roy, Navab, Wachinger: Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks", "1803.02579")
    placements = PLACEMENTS
    sees_shortcut = False
    squeezed_maps = 0
    scaled_maps = 1
    has_channel_gates = False
    has_spatial_gates = True
    stateless_options: dict[str, str] = {}

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        channels = check_positive("channels", channels)
        self.conv = nn.Conv2d(channels, 1, 1, bias=bias)
        self.reset_parameters()

    @property
    def channels(self) -> int:
        """Channels C of the input."""
        return widths(self.conv)[1]

    def reset_parameters(self) -> None:
        """Draw the weights by fan-in (He et al., 1502.01852) and set the bias to 0: gates start around 1/2."""
        init_fan_in_(self.conv)

    @torch.no_grad()
    def start_as_identity(self) -> float:
        """Set `conv` so that every gate is 1/2, and return the factor 2 that belongs behind it."""
        zero_(self.conv)
        return 2.0

    def gate(self, x: Tensor) -> Tensor:
        """Compute the gate of an input.

        Args:
            x: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).

        Returns:
            The shape of x with one channel; at least float32.

        Raises:
            UsageError: if x does not have `channels` channels.
        """
        check_channels(x, self.channels)
        with without_autocast(x):
            return reference.excite_positions(x.to(gate_type(self.conv, x)), partial(call, self.conv))

    def tail_gates(self, gain: float = 1.0) -> Gates | None:
        """Return the gates for the fused residual tail; None if `conv` is not plain, or there is a constant factor behind the block."""
        return Gates(None, Projection(self.conv.weight.flatten(), self.conv.bias)) if gain == 1 and is_plain_layer(self.conv) else None

    def forward(self, x: Tensor) -> Tensor:
        """Return x with every position multiplied by its gate; shape, type and memory format of x."""
        return reference.scale(x, self.gate(x).to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        return f"{self.channels}, bias={getattr(self.conv, 'bias', None) is not None}"
