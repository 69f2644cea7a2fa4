"""Concurrent channel and spatial Squeeze-and-Excitation: scSE."""

from torch import Tensor, nn

from senet.blocks.channel import ChannelSE
from senet.blocks.initial import draw
from senet.blocks.precision import precise, weights, without_autocast
from senet.blocks.spatial import SpatialSE
from senet.ops import reference
from senet.ops.tail.gates import Gates
from senet.spec import COMBINES, Combine, check_choice


class ChannelSpatialSE(nn.Module):
    """Recalibrate by channel and by position, and join the two maps (Roy et al., 1803.02579 and 1808.08127).

    Gates are computed in float32 at least; the joined maps have the input's type. "multiply" gives x * x * s * q, which half-precision maps
    beyond 255 overflow.

    Args:
        channels: channels C of the input.
        reduction: ratio r of the channel form, `cse`.
        combine: "add" (1803.02579), or "max" (1808.08127 and the authors' code), "multiply", "concat" (1808.08127): "concat" has a further
            layer `merge`, a 1x1 convolution from 2C channels, those of `cse` first, back to C.
        bias: biases in every layer, as in the authors' code.

    Raises:
        UsageError: for a width below 1 or an unknown `combine`.
    """

    def __init__(self, channels: int, reduction: int = 2, *, combine: Combine = "add", bias: bool = True) -> None:
        super().__init__()
        check_choice("combine", combine, COMBINES)
        self.channels = channels
        self.combine = combine
        self.cse = ChannelSE(channels, reduction, bias=bias)
        self.sse = SpatialSE(channels, bias=bias)
        self.merge = nn.Conv2d(2 * channels, channels, 1, bias=bias) if combine == "concat" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights of both forms as they do themselves, those of `merge` by fan-in, and set its bias to 0."""
        self.cse.reset_parameters()
        self.sse.reset_parameters()
        if self.merge is not None:
            draw(self.merge)

    def tail_gates(self, gain: float = 1.0) -> Gates | None:
        """Return the gates for the fused residual tail, which adds them; None for another `combine` or with a constant factor."""
        channels, positions = self.cse.tail_gates(), self.sse.tail_gates(gain)
        return None if self.combine != "add" or channels is None or positions is None else Gates(channels.channels, positions.positions)

    def forward(self, x: Tensor) -> Tensor:
        """Return x recalibrated both ways; shape, type and memory format of x.

        Args:
            x: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).

        Raises:
            UsageError: if x does not have `channels` channels.
        """
        joined = reference.COMBINE[self.combine](self.cse(x), self.sse(x))
        if self.merge is None:
            return joined
        dtype = precise(joined, self.merge.weight)
        with without_autocast(x):
            return reference.pointwise(joined.to(dtype), *weights(self.merge, dtype)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what the sub-modules do not say."""
        return f"combine={self.combine!r}"
