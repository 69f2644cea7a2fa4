"""Spatial Squeeze-and-Excitation: sSE, one gate a position."""

from torch import Tensor, nn

from senet.blocks.initial import draw
from senet.blocks.precision import check_channels, precise, weights, without_autocast
from senet.ops import reference
from senet.ops.tail.gates import Gates, Projection
from senet.spec import check_positive


class SpatialSE(nn.Module):
    """Recalibrate positions with gates computed from all channels there (Roy et al., 1803.02579).

    Half-precision inputs or weights are projected and gated in float32; only the gate is cast back to the input's type.

    Args:
        channels: channels C of the input.
        bias: a bias in the projection to one channel, as in the authors' code.

    Raises:
        UsageError: if `channels` is below 1.
    """

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        check_positive("channels", channels)
        self.channels = channels
        self.conv = nn.Conv2d(channels, 1, 1, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights by fan-in (He et al., 1502.01852) and set the bias to 0: gates start around 1/2."""
        draw(self.conv)

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
        dtype = precise(x, self.conv.weight)
        with without_autocast(x):
            return reference.excite_positions(x.to(dtype), *weights(self.conv, dtype))

    def tail_gates(self, gain: float = 1.0) -> Gates | None:
        """Return the gates for the fused residual tail; None if there is a constant factor behind the block."""
        return None if gain != 1 else Gates(None, Projection(self.conv.weight.flatten(), self.conv.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with every position multiplied by its gate; shape, type and memory format of x."""
        return reference.scale(x, self.gate(x).to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        return f"{self.channels}, bias={self.conv.bias is not None}"
