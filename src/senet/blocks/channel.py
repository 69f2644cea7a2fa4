"""Squeeze-and-Excitation over channels: SE, which the scSE papers call cSE."""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from senet.blocks.initialise import init_fan_in_, zero_
from senet.blocks.layers import call, check_channels, gate_type, is_plain_layer, widths
from senet.blocks.precision import without_autocast
from senet.errors import UsageError
from senet.ops import reference
from senet.ops.tail.gates import Excitation, Gates
from senet.spec import PLACEMENTS, check_choice, check_positive, hidden_width

Squeeze = Literal["avg", "max", "none"]
Gate = Literal["sigmoid", "tanh", "relu", "hard_sigmoid"]

GATE_AT_ZERO = {"sigmoid": 0.5, "hard_sigmoid": 0.5, "relu": 1.0}
"""What a gate gives when its last layer's weights are 0; the ReLU's bias is set to 1, where it learns."""


class ChannelSE(nn.Module):
    """Recalibration of channels by gates computed from all of them (Hu et al., 1709.01507, section 3).

    Half-precision inputs or weights are squeezed, excited and gated in float32; only the gate is cast back to the input's type. The layers
    `fc1` and `fc2` are called as modules: they may be pruned, parametrised, wrapped or given hooks.

    Args:
        channels: channels C of the input.
        reduction: ratio r; the bottleneck between the two FCs is max(1, C // r) wide.
        squeeze: "avg" (the paper), "max" (its Table 11), or "none": no pooling, the gate keeps the input's size (its Table 16).
        gate: "sigmoid" (the paper), "tanh", "relu" (its Table 12) or "hard_sigmoid" (MobileNetV3).
        bias: biases in the FCs; the official release has them, the paper's ablations do not.
        hidden: explicit width of the bottleneck instead of `reduction`.

    Raises:
        UsageError: for a width below 1 or an unknown squeeze or gate.
    """

    title = "SE"
    paper = ("Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks", "1709.01507")
    placements = PLACEMENTS
    sees_shortcut = False
    scaled_maps = 1
    has_channel_gates = True
    stateless_options = {"squeeze": "squeeze", "gate": "gate_name"}

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        squeeze: Squeeze = "avg",
        gate: Gate = "sigmoid",
        bias: bool = True,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        channels = check_positive("channels", channels)
        check_choice("squeeze", squeeze, get_args(Squeeze))
        check_choice("gate", gate, get_args(Gate))
        width = hidden_width(channels, reduction) if hidden is None else check_positive("hidden", hidden)
        self.squeeze = squeeze
        self.gate_name = gate
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    @property
    def channels(self) -> int:
        """Channels C of the input."""
        return widths(self.fc1)[1]

    @property
    def hidden(self) -> int:
        """Width of the bottleneck."""
        return widths(self.fc1)[0]

    @property
    def squeezed_maps(self) -> int:
        """How many maps are squeezed to get the gate."""
        return int(self.squeeze != "none")

    def reset_parameters(self) -> None:
        """Draw the weights as He et al. (1502.01852) and set the biases to 0: gates start near 1/2."""
        init_fan_in_(self.fc1, relu=True)
        init_fan_in_(self.fc2)

    @torch.no_grad()
    def start_as_identity(self) -> float:
        """Set `fc2` so that every gate is one constant, and return what it has to be multiplied by to change nothing.

        Raises:
            UsageError: for a tanh, or a ReLU without bias.
        """
        if self.gate_name not in GATE_AT_ZERO:
            raise UsageError(
                f"a block with gate={self.gate_name!r} cannot start as the identity: tanh is 1 only where it is saturated and learns no "
                f"more; use one of {', '.join(GATE_AT_ZERO)}, or init='paper'"
            )
        if self.gate_name == "relu" and self.fc2.bias is None:
            raise UsageError("a block with gate='relu' and bias=False cannot start as the identity: only a bias could open its gate")
        zero_(self.fc2, bias=1.0 if self.gate_name == "relu" else 0.0)
        return 1 / GATE_AT_ZERO[self.gate_name]

    def gate(self, x: Tensor) -> Tensor:
        """Compute the gate of an input.

        Args:
            x: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).

        Returns:
            (N, C), or the shape of x with squeeze "none"; at least float32.

        Raises:
            UsageError: if x does not have `channels` channels.
        """
        check_channels(x, self.channels)
        with without_autocast(x):
            z = reference.SQUEEZE[self.squeeze](x, gate_type(self.fc1, x))
            return reference.excite(z, partial(call, self.fc1), partial(call, self.fc2), self.gate_name)

    def tail_gates(self, gain: float = 1.0) -> Gates | None:
        """Return the gates for the fused residual tail, which averages as it normalises and reads the weights of plain layers, else None.

        Args:
            gain: constant factor behind the block.
        """
        fc1, fc2 = self.fc1, self.fc2
        if self.squeeze != "avg" or not (is_plain_layer(fc1) and is_plain_layer(fc2)):
            return None
        return Gates(Excitation(fc1.weight, fc1.bias, fc2.weight, fc2.bias, self.gate_name, gain))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with every channel multiplied by its gate; shape, type and memory format of x."""
        return reference.scale(x, self.gate(x).to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        bias = getattr(self.fc1, "bias", None) is not None
        return f"{self.channels}, hidden={self.hidden}, squeeze={self.squeeze!r}, gate={self.gate_name!r}, bias={bias}"
