"""What an optimised network is made of: convolutions that end units, and gates that write where they read."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.blocks.precision import precise, without_autocast
from senet.deploy.fold import fold_squeeze, input_is_smaller, saves_weights
from senet.deploy.gates import excitation_of
from senet.ops import reference
from senet.ops.inference.join import join
from senet.ops.inference.packed import Geometry, available, convolve, pack
from senet.ops.inference.squeeze import TAPS, excite_lean, excite_map


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
        folded = fold_squeeze(conv.weight.detach(), conv.bias, conv.groups, fc1) if self.folded else _precise(gate.w1, gate.b1)
        self.fc1, self.fc2 = linear(*folded), linear(*_precise(gate.w2, gate.b2))

    def forward(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Map the convolution's input (N, I, H, W) to the gates of its output, (N, O)."""
        dtype = precise(x, self.fc1.weight, self.fc2.weight)
        with without_autocast(x):
            fc1, fc2 = weights(self.fc1, dtype), weights(self.fc2, dtype)
            if self.folded and self.kernel == self.stride == (1, 1):
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
        self.fc1, self.fc2 = linear(*_precise(gate.w1, gate.b1)), linear(*_precise(gate.w2, gate.b2))

    def forward(self, y: Tensor) -> Tensor:
        """Map (N, C, *S) to gates (N, C)."""
        dtype = precise(y, self.fc1.weight, self.fc2.weight)
        with without_autocast(y):
            s = excite_map(y, weights(self.fc1, dtype), weights(self.fc2, dtype), self.gate_name)
            return s if self.gain == 1 else s * self.gain

    def extra_repr(self) -> str:
        """Return every option."""
        return f"gate={self.gate_name!r}" + ("" if self.gain == 1 else f", gain={self.gain:g}")


class Packed(NamedTuple):
    """A weight's packed copy, and of which state of which parameter it is."""

    of: Tensor
    version: int
    weight: Tensor


class FusedConv2d(nn.Conv2d):
    """Convolution that scales by a gate, adds a shortcut and rectifies: each but the first only if asked for, and without a further map.

    Args:
        like: the convolution whose shape it has.
        weight: its weight, BN folded in.
        bias: its bias.
        se: the block behind it, or None.
        gain: constant factor behind the block.
        relu: whether a ReLU ends it.
    """

    def __init__(
        self, like: nn.Conv2d, weight: Tensor, bias: Tensor | None, *, se: nn.Module | None = None, gain: float = 1.0, relu: bool = False
    ) -> None:
        super().__init__(
            like.in_channels,
            like.out_channels,
            like.kernel_size,  # pyright: ignore[reportArgumentType]
            like.stride,  # pyright: ignore[reportArgumentType]
            like.padding,  # pyright: ignore[reportArgumentType]
            like.dilation,  # pyright: ignore[reportArgumentType]
            like.groups,
            bias is not None,
            like.padding_mode,
            device="meta",
        )
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        early = se is not None and input_is_smaller(self)
        self.gate = CommutedGate(se, self, gain) if se is not None and early else None
        self.late_gate = OutputGate(se, gain) if se is not None and not early else None
        self.relu = relu
        self._packed: Packed | None = None
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        self._geometry = Geometry(self.padding, self.stride, self.dilation, self.groups) if plain else None  # pyright: ignore[reportArgumentType]

    def forward(self, input: Tensor, shortcut: Tensor | None = None) -> Tensor:  # noqa: A002 - the name in nn.Conv2d
        """Map (N, I, H, W), and a shortcut of the output's shape if the unit has one, to (N, O, H', W')."""
        s = None if self.gate is None else self.gate(input, self)
        if self._geometry is None or not available(input, self.weight):
            return self._join(super().forward(input), s, shortcut)
        weight = self._pack(self._geometry, input.shape)
        if s is None and self.late_gate is None and self._takes(shortcut, input):
            return convolve(input, weight, self.bias, self._geometry, shortcut, relu=self.relu)
        return self._join(convolve(input, weight, self.bias, self._geometry, relu=False), s, shortcut)

    def _join(self, y: Tensor, s: Tensor | None, shortcut: Tensor | None) -> Tensor:
        return join(y, s if self.late_gate is None else self.late_gate(y), shortcut, relu=self.relu)

    def _takes(self, shortcut: Tensor | None, x: Tensor) -> bool:
        """Return whether the convolution itself can add a shortcut: it must not be one to broadcast."""
        if shortcut is None:
            return True
        batch, channels, *size = shortcut.shape
        moves = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        own = [(n + 2 * int(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in moves]
        return shortcut.dtype == x.dtype and (batch, channels, size) == (len(x), self.out_channels, own)

    def _pack(self, geometry: Geometry, shape: torch.Size) -> Tensor:
        """Return the packed weight, made anew if the weight is another one or has changed since."""
        weight = self.weight
        version = 0 if weight.is_inference() else weight._version
        packed = self._packed
        if packed is None or packed.of is not weight or packed.version != version:
            packed = self._packed = Packed(weight, version, pack(weight, geometry, shape))
        return packed.weight

    def _apply(self, fn: Any, recurse: bool = True) -> "FusedConv2d":
        self._packed = None  # a conversion gives a parameter other data without counting it as a change
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # copies and files have the weight

    def extra_repr(self) -> str:
        """Return every option."""
        return f"{super().extra_repr()}, relu={self.relu}"


class LeanSE(nn.Module):
    """Block in few operations, which writes to the map where nobody else holds it.

    Args:
        se: the block.
        in_place: whether the map may be overwritten.
    """

    def __init__(self, se: nn.Module, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.gate = OutputGate(se)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, *S) with every channel multiplied by its gate."""
        s = self.gate(x)
        return join(x, s) if self.in_place else reference.scale(x, s.to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        return f"in_place={self.in_place}"


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with this weight and bias, not to be trained."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)  # pyright: ignore[reportAttributeAccessIssue]
    return layer


def weights(layer: nn.Linear | nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a layer of this package in this type."""
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


def _precise(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias in the type in which gates are computed, so that no call has to convert them."""
    dtype = precise(weight)
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
