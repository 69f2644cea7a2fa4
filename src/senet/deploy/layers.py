"""What an optimised network is made of: convolutions that end units, those that hand on to them, and blocks that write where they read."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from senet.deploy.fold import input_is_smaller
from senet.deploy.gate_layers import CommutedGate, OutputGate
from senet.ops import reference
from senet.ops.inference.join import join
from senet.ops.inference.packed import Geometry, available, convolve, pack
from senet.ops.inference.unit import activate_squeeze, excite_join, inference_backend, squeeze
from senet.ops.passes.maps import over_positions
from senet.ops.passes.terms import Shortcut


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
        self.weight = nn.Parameter(_laid_out(weight), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        early = se is not None and input_is_smaller(self)
        self.gate = CommutedGate(se, self, gain) if se is not None and early else None
        self.late_gate = OutputGate(se, gain) if se is not None and not early else None
        self.relu = relu
        self._packed: Packed | None = None
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        self._geometry = Geometry(self.padding, self.stride, self.dilation, self.groups) if plain else None  # pyright: ignore[reportArgumentType]

    def forward(
        self,
        input: Tensor,  # noqa: A002 - the name in nn.Conv2d
        shortcut: Tensor | None = None,
        parts: Tensor | None = None,
        shortcut_bias: Tensor | None = None,
    ) -> Tensor:
        """Map (N, I, H, W), and a shortcut of the output's shape if the unit has one, to (N, O, H', W').

        Args:
            input: the map.
            shortcut: what is added, or None.
            parts: what a `SqueezingConv2d` before it knows of the gate, or None.
            shortcut_bias: (O,), what an `UnbiasedConv2d` left to this one to add; None = 0.
        """
        backend = inference_backend(input)
        if backend is not None and self._has_kernels():
            return self._by_kernels(input, shortcut, parts, shortcut_bias, backend)
        if shortcut is not None and shortcut_bias is not None:
            shortcut = shortcut + over_positions(shortcut_bias)
        s = None if self.gate is None else self.gate(input, self)
        if self._geometry is None or not available(input, self.weight):
            return self._join(super().forward(input), s, shortcut)
        weight = self._pack(self._geometry, input.shape)
        if s is None and self.late_gate is None and self._takes(shortcut, input):
            return convolve(input, weight, self.bias, self._geometry, shortcut, relu=self.relu)
        return self._join(convolve(input, weight, self.bias, self._geometry, relu=False), s, shortcut)

    def _has_kernels(self) -> bool:
        """Return whether the passes of inference do all that follows; what has no gate a compiler fuses itself."""
        if self.gate is None and self.late_gate is None:
            return not torch.compiler.is_compiling()
        return self.gate is None or self.gate.direct

    def _by_kernels(self, x: Tensor, shortcut: Tensor | None, parts: Tensor | None, shortcut_bias: Tensor | None, backend: str) -> Tensor:
        gate = None
        if self.gate is not None:
            gate = self.gate.of_parts(squeeze(x, None, self.gate.fc1.weight, backend) if parts is None else parts)
        c = self.convolve_alone(x)
        if self.late_gate is not None:
            gate = self.late_gate.of_parts(squeeze(c, self.bias, self.late_gate.fc1.weight, backend))
        if gate is None and shortcut is None and self.bias is None and not self.relu:
            return c
        added = None if shortcut is None else Shortcut(shortcut, shift=shortcut_bias)
        return excite_join(c, self.bias, gate, added, backend, relu=self.relu)

    def convolve_alone(self, x: Tensor) -> Tensor:
        """Return the convolution without its bias, and without what follows."""
        return self._conv_forward(x, self.weight, None)

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
        super()._apply(fn, recurse)
        weight = _laid_out(self.weight)
        if weight is not self.weight:
            self.weight.data = weight.data
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # copies and files have the weight

    def extra_repr(self) -> str:
        """Return every option."""
        return f"{super().extra_repr()}, relu={self.relu}"


class SqueezingConv2d(FusedConv2d):
    """Convolution that hands on what the gate behind the next one needs to know of its map, where a backend finds that on the way."""

    def forward(self, input: Tensor, w1: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: A002  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map (N, I, H, W) to (N, O, H', W') and W1 times the means of that by parts, (N, P, R), or None; w1 is (R, O)."""
        backend = inference_backend(input)
        if backend is None:
            return super().forward(input), None
        return activate_squeeze(self.convolve_alone(input), self.bias, w1, backend, relu=self.relu)


class UnbiasedConv2d(FusedConv2d):
    """Convolution that hands on its bias to what adds its map to another, where a backend adds both at once."""

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: A002  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map (N, I, H, W) to (N, O, H', W') and the bias that is to be added, or None."""
        if inference_backend(input) is None:
            return super().forward(input), None
        return self.convolve_alone(input), self.bias


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
        backend = inference_backend(x)
        if backend is not None:
            gate = self.gate.of_parts(squeeze(x, None, self.gate.fc1.weight, backend))
            return excite_join(x, None, gate, None, backend, relu=False, in_place=self.in_place)
        s = self.gate(x)
        return join(x, s) if self.in_place else reference.scale(x, s.to(x.dtype))

    def extra_repr(self) -> str:
        """Return every option."""
        return f"in_place={self.in_place}"


def _laid_out(weight: Tensor) -> Tensor:
    """Return a weight (O, I, kh, kw) as its device's convolutions want it: of half precision on CUDA in channels_last, as maps then are."""
    wanted = weight.device.type == "cuda" and weight.dtype in (torch.float16, torch.bfloat16)
    return weight.contiguous(memory_format=torch.channels_last) if wanted else weight
