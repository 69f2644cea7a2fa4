"""Squeeze-and-Excitation over channels: SE, which the scSE papers call cSE."""

from torch import Tensor, nn

from senet.blocks.initial import draw
from senet.blocks.precision import check_channels, precise, weights, without_autocast
from senet.ops import reference
from senet.ops.tail.gates import Excitation, Gates
from senet.spec import GATES, SQUEEZES, Gate, Squeeze, check_choice, check_positive, hidden_width


class ChannelSE(nn.Module):
    """Recalibrate channels with gates computed from all of them (Hu et al., 1709.01507, section 3).

    Half-precision inputs or weights are squeezed, excited and gated in float32; only the gate is cast back to the input's type.

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
        check_positive("channels", channels)
        check_choice("squeeze", squeeze, SQUEEZES)
        check_choice("gate", gate, GATES)
        width = hidden_width(channels, reduction) if hidden is None else hidden
        check_positive("hidden", width)
        self.channels = channels
        self.squeeze = squeeze
        self.gate_name = gate
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)
        self.reset_parameters()

    @property
    def hidden(self) -> int:
        """Width of the bottleneck."""
        return self.fc1.out_features

    def reset_parameters(self) -> None:
        """Draw the weights as He et al. (1502.01852) and set the biases to 0: gates start near 1/2."""
        draw(self.fc1, relu=True)
        draw(self.fc2)

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
        dtype = precise(x, self.fc1.weight)
        with without_autocast(x):
            z = reference.SQUEEZE[self.squeeze](x.to(dtype))
            return reference.excite(z, *weights(self.fc1, dtype), *weights(self.fc2, dtype), self.gate_name)

    def tail_gates(self, gain: float = 1.0) -> Gates | None:
        """Return the gates for the fused residual tail, which averages as it normalises; None for another squeeze.

        Args:
            gain: constant factor behind the block.
        """
        if self.squeeze != "avg":
            return None
        return Gates(Excitation(self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias, self.gate_name, gain))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with every channel multiplied by its gate; shape, type and memory format of x."""
        return reference.scale(x, self.gate(x).to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        bias = self.fc1.bias is not None
        return f"{self.channels}, hidden={self.hidden}, squeeze={self.squeeze!r}, gate={self.gate_name!r}, bias={bias}"
