"""What a block multiplies by, as data, and the gradients of the gates of channels (Hu et al., 1709.01507, eq. 2-4)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from senet.ops.reference import GATE

DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda s: s * (1 - s),
    "tanh": lambda s: 1 - s * s,
    "relu": lambda s: (s > 0).to(s.dtype),
    "hard_sigmoid": lambda s: ((s > 0) & (s < 1)).to(s.dtype) / 6,
}
"""The derivative of each gate as a function of its value."""


@dataclass(frozen=True)
class Excitation:
    """Excitation as data: weights and biases of both FCs, the name of the non-linearity, and a constant factor behind it."""

    w1: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None
    name: str
    gain: float = 1.0


@dataclass(frozen=True)
class Projection:
    """Projection of a position's channels to its gate as data: weight (C,), and bias (1,) or None."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Gates:
    """Factors of a block as data: the excitation of the channels, the projection of the positions, or both, then their sum."""

    channels: Excitation | None
    positions: Projection | None = None


@dataclass(frozen=True)
class Excited:
    """Gates of channels and what their gradient needs: squeeze (N, C), hidden units (N, h), gates without gain (N, C)."""

    squeeze: Tensor
    hidden: Tensor
    gates: Tensor


@dataclass(frozen=True)
class ExcitationGradients:
    """Gradients of an excitation: of its squeeze (N, C), and of its weights and biases by their names."""

    squeeze: Tensor
    weights: dict[str, Tensor]


def excite_forward(excitation: Excitation, squeeze: Tensor) -> Excited:
    """Compute the gates of squeezed maps (N, C)."""
    w1, b1, w2, b2 = (None if v is None else v.to(squeeze.dtype) for v in (excitation.w1, excitation.b1, excitation.w2, excitation.b2))
    assert w1 is not None
    assert w2 is not None
    hidden = torch.relu_(linear(squeeze, w1, b1))
    return Excited(squeeze, hidden, GATE[excitation.name](linear(hidden, w2, b2)))


def excite_backward(excitation: Excitation, excited: Excited, dgates: Tensor) -> ExcitationGradients:
    """Return the gradients of an excitation, given that of its gates with their gain, (N, C)."""
    dlogits = with_gain(dgates * DERIVATIVES[excitation.name](excited.gates), excitation)
    dhidden = (dlogits @ excitation.w2.to(dlogits.dtype)) * (excited.hidden > 0)
    weights = {"w1": dhidden.t() @ excited.squeeze, "b1": dhidden.sum(0), "w2": dlogits.t() @ excited.hidden, "b2": dlogits.sum(0)}
    return ExcitationGradients(dhidden @ excitation.w1.to(dhidden.dtype), weights)


def with_gain(gates: Tensor, excitation: Excitation) -> Tensor:
    """Multiply by the excitation's constant factor."""
    return gates if excitation.gain == 1 else gates * excitation.gain
