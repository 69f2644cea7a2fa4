"""The passes over maps that a residual tail is made of, as every backend has them.

Maps are (N, C, H, W) of one memory format and type. Vectors over images and channels, (N, C), and over channels, (C,), are float32, for
float64 maps float64. No pass writes to what it is given, and each is deterministic. Letters are those of `senet.ops.passes.terms`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from senet.ops.passes.partial_gate import Division, PartialGate
from senet.ops.passes.terms import (
    Centred,
    Coefficients,
    GateOfPositions,
    GradientSums,
    Normalised,
    OutputGradient,
    PairCoefficients,
    PairGradient,
    PairMoments,
    PairSums,
    PositionCoefficients,
    PositionSums,
    Shortcut,
)

if TYPE_CHECKING:
    from senet.ops.tail.channel import ChannelTail
    from senet.ops.tail.preactivated import PreactivatedOutput, PreactivatedSaved, PreactivatedTail
    from senet.ops.tail.rows import Gradients, Output, Saved


class ChannelKernels(Protocol):
    """The passes of a tail without a block, or whose block gates channels."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """Read x once.

        Returns:
            The mean p of each map, (N, C), and its centred sum of squares m2 = sum (x - p)^2, (N, C); m2 is zero unless `centred`.
        """
        ...

    def apply(self, x: Tensor, scale: Tensor, shift: Tensor, shortcut: Shortcut | None, relu: bool) -> tuple[Tensor, Tensor | None]:
        """Map x to y = f(scale x + shift + shortcut), f a ReLU or the identity; scale and shift are (N, C).

        Returns:
            y, and the mask of its ReLU for `OutputGradient`: y itself or a form of the backend's own; None without a ReLU.
        """
        ...

    def mask_like(self, x: Tensor) -> Tensor | None:
        """Return an empty tensor such as the mask that `apply` makes for maps like x; None if that is y itself."""
        ...

    def reduce(self, gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool) -> GradientSums:
        """Sum over positions; `shortcut` is a projected one, or None.

        Args:
            gradient: of the output.
            branch: x.
            shortcut: r if it is projected, else None.
            store_gradient: whether g is written, for the passes behind this one.
        """
        ...

    def spread(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients) -> Tensor:
        """Return the gradient of x that the coefficients say."""
        ...


class SpatialKernels(Protocol):
    """The passes of a tail whose block gates positions."""

    def apply_positions(
        self, branch: Normalised, gate: GateOfPositions, shortcut: Shortcut | None, relu: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Gate every position, and every map if there are gates of channels s.

        Returns:
            y = f(u (s + q) + shortcut), u the normalised branch; its mask as `apply` has it; and the gates q, (N, 1, H, W) and contiguous,
            of the vectors' type.
        """
        ...

    def reduce_positions(
        self, gradient: OutputGradient, branch: Normalised, gates: Tensor, shortcut: Centred | None, store_gradient: bool
    ) -> PositionSums:
        """Sum over channels, then over positions; gates are q, the rest is as in `reduce`."""
        ...

    def spread_positions(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients, positions: PositionCoefficients) -> Tensor:
        """Return the gradient of x that both kinds of coefficients say."""
        ...


class Kernels(ChannelKernels, SpatialKernels, Protocol):
    """The passes that every backend has; `senet.ops.tail` combines them to the forward and backward of a tail."""


@runtime_checkable
class PairKernels(Protocol):
    """The passes over branch and shortcut together, of a pre-activation tail; a backend need not have them.

    With gates a tail is `pair_moments` and `apply_pair`; without, `add_pair` and `activate`, or by running statistics `apply_pair` alone.
    """

    def pair_moments(self, u: Tensor, r: Tensor) -> PairMoments:
        """Read branch and shortcut once."""
        ...

    def apply_pair(self, u: Tensor, r: Tensor, gates: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return v = gates u + r and a = relu(scale v + shift); gates are (N, C), None = 1, scale and shift (C,)."""
        ...

    def add_pair(self, u: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return v = u + r and the moments of v, as `ChannelKernels.moments` has them."""
        ...

    def activate(self, v: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return a = relu(scale v + shift); scale and shift are (C,)."""
        ...

    def reduce_pair(self, gradient: PairGradient, mean: Tensor, u: Tensor | None) -> PairSums:
        """Sum over positions; mean is that of v, (C,), u None where it is not gated."""
        ...

    def spread_pair(self, gradient: PairGradient, coefficients: PairCoefficients) -> tuple[Tensor, Tensor]:
        """Return the gradients of shortcut and branch, dr and du, that the coefficients say; one map where the branch is not gated."""
        ...


@runtime_checkable
class TailKernels(Protocol):
    """Whole tails, the small steps between their passes included; a backend need not have them, and says of each whether it computes it.

    They may move the running averages of a normalisation that has `averages`; there are no statistics in the output then.
    """

    def channel_forward(self, tail: ChannelTail, x: Tensor, r: Tensor | None) -> Output | None:
        """Return what `ChannelTail.forward` does; None = it is to be composed of the passes."""
        ...

    def channel_backward(self, tail: ChannelTail, dy: Tensor, saved: Saved) -> Gradients | None:
        """Return what `ChannelTail.backward` does; None = it is to be composed of the passes."""
        ...

    def pair_forward(self, tail: PreactivatedTail, u: Tensor, r: Tensor) -> PreactivatedOutput | None:
        """Return what `PreactivatedTail.forward` does; None = it is to be composed of the passes."""
        ...

    def pair_backward(self, tail: PreactivatedTail, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved) -> Gradients | None:
        """Return what `PreactivatedTail.backward` does; None = it is to be composed of the passes."""
        ...


def whole_tails(kernels: Any) -> TailKernels | None:
    """Return a backend's passes if it has whole tails, else None; every tail asks, so it is found out once a class."""
    return kernels if _has_tails(type(kernels)) else None


@cache
def _has_tails(backend: type) -> bool:
    return issubclass(backend, TailKernels)


class InferenceKernels(Protocol):
    """The passes of a unit in inference, behind convolutions without their bias; a backend need not have them."""

    def activate_squeeze(self, c: Tensor, bias: Tensor | None, w1: Tensor, division: Division, *, relu: bool, out: Tensor | None) -> Tensor:
        """Write x = f(c + bias) to `out`, which may be c, or nowhere (None), and return W1 mean(x) by parts.

        Args:
            c: (N, C, H, W).
            bias: (C,) or None.
            w1: (R, C).
            division: how an image is cut to parts.
            relu: whether f is a ReLU, else the identity.
            out: a map like c, or None.

        Returns:
            (N, P, R), to be added up over the parts.
        """
        ...

    def excite_join(
        self, c: Tensor, bias: Tensor | None, gate: PartialGate | None, shortcut: Shortcut | None, *, relu: bool, out: Tensor
    ) -> None:
        """Write f(s (c + bias) + shortcut) to `out`, a map like c or c itself; the shortcut has no scale, and gate None is s = 1."""
        ...
