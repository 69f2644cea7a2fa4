"""Concurrent channel and spatial Squeeze-and-Excitation: scSE."""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from senet.blocks.channel import ChannelSE
from senet.blocks.initialise import init_fan_in_, zero_
from senet.blocks.layers import call, gate_type
from senet.blocks.layout import ImageWeights
from senet.blocks.precision import without_autocast
from senet.blocks.spatial import SpatialSE
from senet.errors import UsageError
from senet.ops import reference
from senet.ops.tail.gates import Gates
from senet.spec import PLACEMENTS, check_choice

Combine = Literal["add", "max", "multiply", "concat"]


class ChannelSpatialSE(ImageWeights):
    """Recalibration by channel and by position, of which both maps are joined (Roy et al., 1803.02579 and 1808.08127).

    Gates are computed in float32 at least; the joined maps have the input's type. "multiply" gives x * x * s * q, which half-precision maps
    beyond 255 overflow.

    Args:
        channels: channels C of the input.
        reduction: ratio r of the channel form, `cse`.
        combine: "add" (1803.02579), or "max" (1808.08127 and the authors' code), "multiply", "concat" (1808.08127): "concat" has a further
            layer `merge`, a 1x1 convolution from 2C channels, those of `cse` first, back to C.
        bias: biases in every layer, as in the authors' code.
        hidden: explicit width of the bottleneck of `cse` instead of `reduction`.

    Raises:
        UsageError: for a width below 1 or an unknown `combine`.
    """

    title = "scSE"
    paper = SpatialSE.paper
    placements = PLACEMENTS
    sees_shortcut = False
    has_channel_gates = False  # `cse`, a block itself, has them
    stateless_options = {"combine": "combine"}

    def __init__(
        self, channels: int, reduction: int = 2, *, combine: Combine = "add", bias: bool = True, hidden: int | None = None
    ) -> None:
        super().__init__()
        check_choice("combine", combine, get_args(Combine))
        self.combine = combine
        self.cse = ChannelSE(channels, reduction, bias=bias, hidden=hidden)
        self.sse = SpatialSE(channels, bias=bias)
        self.merge = nn.Conv2d(2 * channels, channels, 1, bias=bias) if combine == "concat" else None
        self.reset_parameters()

    @property
    def channels(self) -> int:
        """Channels C of the input."""
        return self.cse.channels

    @property
    def hidden(self) -> int:
        """Width of the bottleneck of `cse`."""
        return self.cse.hidden

    @property
    def squeezed_maps(self) -> int:
        """How many maps are squeezed to get the gates."""
        return self.cse.squeezed_maps + self.sse.squeezed_maps

    @property
    def scaled_maps(self) -> int:
        """How many maps are multiplied by a gate."""
        return self.cse.scaled_maps + self.sse.scaled_maps

    def reset_parameters(self) -> None:
        """Initialise both forms as they do themselves, draw the weights of `merge` by fan-in, and set its bias to 0."""
        self.cse.reset_parameters()
        self.sse.reset_parameters()
        if self.merge is not None:
            init_fan_in_(self.merge)

    @torch.no_grad()
    def start_as_identity(self) -> float:
        """Set the last layer of both forms so that their gates are 1/2, `merge` so that it adds them, and return the factor behind them.

        Raises:
            UsageError: for `combine` "multiply".
        """
        if self.combine == "multiply":
            raise UsageError(
                "an scSE block with combine='multiply' cannot start as the identity: it gives x * x times its gates; use 'add', 'max' or "
                "'concat', or init='paper'"
            )
        self.cse.start_as_identity()
        self.sse.start_as_identity()
        if self.merge is not None:  # both halves come at one half: their sum is the input
            zero_(self.merge)
            eye = torch.eye(self.channels, device=self.merge.weight.device, dtype=self.merge.weight.dtype)
            self.merge.weight.copy_(torch.cat((eye, eye), 1)[..., None, None])
        return 2.0 if self.combine == "max" else 1.0

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
        with without_autocast(x):
            return reference.pointwise(joined.to(gate_type(self.merge, joined)), partial(call, self.merge)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return what the sub-modules do not say."""
        return f"combine={self.combine!r}"
