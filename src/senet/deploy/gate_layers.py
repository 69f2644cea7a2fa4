"""The gates of optimised networks: a block's two layers, and where their means come from."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.blocks.precision import precise, without_autocast
from senet.deploy.fold import fold_squeeze, saves_weights
from senet.deploy.gates import excitation_of
from senet.ops.inference.squeeze import TAPS, excite_lean, excite_map
from senet.ops.passes.partial_gate import PartialGate


class CommutedGate(nn.Module):
    """Gate of a convolution's output, computed from its input (see `senet.ops.inference.squeeze`), in float32 at least.

    Args:
        se: the block behind the convolution.
        conv: the convolution, its BN folded.
        gain: constant factor of the gate.

    Attributes:
        folded: whether `fc1` maps the means of the input to the hidden units directly, the convolution within it.
    """

    def __init__(self, se: nn.Module, conv: nn.Conv2d, gain: float = 1.0) -> None:
        super().__init__()
        gate = excitation_of(se)
        fc1 = linear(gate.w1, gate.b1)
        self.gate_name = gate.name
        self.gain = gain
        self.kernel = conv.kernel_size
        self.stride = (conv.stride[0], conv.stride[1])
        self.folded = saves_weights(conv.weight, conv.groups, fc1)
        folded = fold_squeeze(conv.weight.detach(), conv.bias, conv.groups, fc1) if self.folded else _kept(gate.w1, gate.b1)
        self.fc1, self.fc2 = linear(*folded), linear(*_kept(gate.w2, gate.b2))

    @property
    def direct(self) -> bool:
        """Whether the means of the input are all that `fc1` takes."""
        return self.folded and self.kernel == self.stride == (1, 1)

    def of_parts(self, parts: Tensor) -> PartialGate:
        """Return the gate of which this is known, see `PartialGate`."""
        return PartialGate(parts, self.fc1.bias, self.fc2.weight, self.fc2.bias, self.gate_name, self.gain)

    def forward(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Map the convolution's input (N, I, H, W) to the gates of its output, (N, O)."""
        dtype = precise(x, self.fc1.weight, self.fc2.weight)
        with without_autocast(x):
            fc1, fc2 = weights(self.fc1, dtype), weights(self.fc2, dtype)
            if self.direct:
                s = excite_map(x, fc1, fc2, self.gate_name)
            else:
                taps = TAPS[self.kernel](x, self.stride, dtype)
                if not self.folded:
                    taps = F.conv2d(taps, *weights(conv, dtype), groups=conv.groups)
                s = excite_lean(taps.flatten(1), fc1, fc2, self.gate_name)
            return s if self.gain == 1 else s * self.gain

    def extra_repr(self) -> str:
        """Return every option."""
        return f"kernel={self.kernel}, folded={self.folded}, gate={self.gate_name!r}" + ("" if self.gain == 1 else f", gain={self.gain:g}")


class OutputGate(nn.Module):
    """Gate of a map, computed from the map itself, in float32 at least.

    Args:
        se: the block.
        gain: constant factor of the gate.
    """

    def __init__(self, se: nn.Module, gain: float = 1.0) -> None:
        super().__init__()
        gate = excitation_of(se)
        self.gate_name = gate.name
        self.gain = gain
        self.fc1, self.fc2 = linear(*_kept(gate.w1, gate.b1)), linear(*_kept(gate.w2, gate.b2))

    def of_parts(self, parts: Tensor) -> PartialGate:
        """Return the gate of which this is known, see `PartialGate`."""
        return PartialGate(parts, self.fc1.bias, self.fc2.weight, self.fc2.bias, self.gate_name, self.gain)

    def forward(self, y: Tensor) -> Tensor:
        """Map (N, C, *S) to gates (N, C)."""
        dtype = precise(y, self.fc1.weight, self.fc2.weight)
        with without_autocast(y):
            s = excite_map(y, weights(self.fc1, dtype), weights(self.fc2, dtype), self.gate_name)
            return s if self.gain == 1 else s * self.gain

    def extra_repr(self) -> str:
        """Return every option."""
        return f"gate={self.gate_name!r}" + ("" if self.gain == 1 else f", gain={self.gain:g}")


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with this weight and bias, not to be trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)  # pyright: ignore[reportAttributeAccessIssue]
    return layer


def weights(layer: nn.Linear | nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a layer of this package in this type."""
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


def _kept(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias in the type in which gates are computed, so that no call has to convert them; on CUDA kernels widen them."""
    dtype = weight.dtype if weight.device.type == "cuda" else precise(weight)
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
