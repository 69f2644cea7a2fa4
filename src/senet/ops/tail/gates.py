"""What a block multiplies by, as data, and the gradients of the gates of channels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from senet.ops.reference import GATE

SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda s: s * (1 - s),
    "tanh": lambda s: 1 - s * s,
    "relu": lambda s: (s > 0).to(s.dtype),
    "hard_sigmoid": lambda s: ((s > 0) & (s < 1)).to(s.dtype) / 6,
}
"""The derivative of each gate as a function of its value."""


@dataclass(frozen=True)
class Excitation:
    """Hold an excitation as data: weights and biases of both FCs, the name of the non-linearity, and a constant factor behind it."""

    w1: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None
    name: str
    gain: float = 1.0


@dataclass(frozen=True)
class Projection:
    """Hold the projection of a position's channels to its gate as data: weight (C,), and bias (1,) or None."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Gates:
    """Hold what a block multiplies by as data: the excitation of the channels, the projection of the positions, or both, then their sum."""

    channels: Excitation | None
    positions: Projection | None = None


@dataclass(frozen=True)
class Excited:
    """Hold a gate and what its gradient needs: squeeze z, hidden units h, gate s without its gain."""

    z: Tensor
    h: Tensor
    s: Tensor


def excite(gate: Excitation, z: Tensor) -> Excited:
    """Compute the gate of squeezed maps (N, C)."""
    w1, b1, w2, b2 = (None if v is None else v.to(z.dtype) for v in (gate.w1, gate.b1, gate.w2, gate.b2))
    assert w1 is not None
    assert w2 is not None
    h = torch.relu_(linear(z, w1, b1))
    return Excited(z, h, GATE[gate.name](linear(h, w2, b2)))


def excitation_gradients(gate: Excitation, excited: Excited, ds: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the gradients of z, and of w1, b1, w2 and b2."""
    de = gained(ds * SLOPES[gate.name](excited.s), gate)
    da = (de @ gate.w2.to(de.dtype)) * (excited.h > 0)
    return da @ gate.w1.to(da.dtype), (da.t() @ excited.z, da.sum(0), de.t() @ excited.h, de.sum(0))


def gained(s: Tensor, gate: Excitation) -> Tensor:
    """Multiply by the gate's constant factor."""
    return s if gate.gain == 1 else s * gate.gain
