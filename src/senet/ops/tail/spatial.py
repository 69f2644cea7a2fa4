"""A residual tail with a spatial block in one operator: BN, sSE or scSE, shortcut and ReLU, in as many passes over maps as BN needs.

As u = scale x + shift, the projection of a position is q = sum_c w u = sum_c (w scale) x + constant: the pass that writes y computes q, the
gate ss = sigmoid(q) and y = relu(u (s + ss) + shortcut) from one read of x, with s the gate of the channels, none for sSE. In the backward
pass the sums that BN needs, once as they are and once weighted by ss, give the gradients of both gates (Roy et al., 1803.02579).

Names are those of `senet.ops.tail.channel`; w and b are the projection, of a position dss and dq are the gradients of the loss by ss and q.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from senet.ops.passes.protocol import Kernels
from senet.ops.tail.channel import (
    IDENTITY,
    Gradients,
    Norm,
    Passed,
    Saved,
    normalise,
    projected_gradients,
    through_statistics,
    times,
)
from senet.ops.tail.gates import Excitation, Projection, excitation_gradients, excite, gained


@dataclass(frozen=True)
class SpatialTail:
    """Say what a tail is made of; `forward` and `backward` are its mathematics, on the passes of a backend.

    Args:
        norm: the branch's last normalisation, or None.
        gate: the excitation of the channels, or None for sSE; with it the tail is scSE's, whose recalibrated maps are added.
        projection: the projection of the positions.
        r_norm: the normalisation of a projected shortcut, or None.
        relu: whether a ReLU ends the unit.
    """

    norm: Norm | None
    gate: Excitation | None
    projection: Projection
    r_norm: Norm | None
    relu: bool

    @property
    def saved_type(self) -> "type[SpatialSaved]":
        """What holds the small things that the backward pass needs."""
        return SpatialSaved

    def forward(self, kernels: Kernels, x: Tensor, r: Tensor | None) -> Passed:
        """Map x (N, C, H, W) and the shortcut, a map of that shape or None, to y; what is saved is a `SpatialSaved`."""
        p, affine, shift, statistics = normalise(kernels, x, self.norm, squeeze=self.gate is not None)
        excited, s = None, None
        if self.gate is not None:
            excited = excite(self.gate, affine.scale * p + shift)
            s = gained(excited.s, self.gate)
        w = self.projection.weight.to(p.dtype)
        b = (w * shift).sum() if self.projection.bias is None else (w * shift).sum() + self.projection.bias.to(p.dtype)
        r_affine, r_scale, r_shift, (r_mu, r_var) = None, None, None, (None, None)
        if r is not None and self.r_norm is not None:
            _, r_affine, r_shift, (r_mu, r_var) = normalise(kernels, r, self.r_norm, squeeze=False)
            r_scale = r_affine.scale
        y, kept, ss = kernels.apply_positions(x, affine.scale, shift, affine.scale * w, b, s, r, r_scale, r_shift, self.relu)
        return Passed(y, kept, SpatialSaved(p, affine, r_affine, excited, shift, ss), (*statistics, r_mu, r_var))

    def backward(
        self, kernels: Kernels, dy: Tensor, kept: Tensor | None, x: Tensor, r: Tensor | None, saved: "SpatialSaved", has_shortcut: bool
    ) -> "SpatialGradients":
        """Return the gradients of everything that `forward` took.

        Args:
            kernels: the passes.
            dy: gradient of the output.
            kept: what the first pass kept of the output, if a ReLU ended it.
            x: the branch.
            r: the shortcut, if it is projected.
            saved: what `forward` saved.
            has_shortcut: whether there was one.
        """
        affine, r_affine, shift, ss = saved.affine, saved.r_affine, saved.shift, saved.ss
        positions = x.shape[2] * x.shape[3]
        keep = has_shortcut and r_affine is None and kept is not None  # without a ReLU the shortcut's gradient is dy itself
        a, b, a_ss, b_ss, by_q, by_r, dq, g = kernels.reduce_positions(
            dy, kept, x, affine.mu, affine.scale, shift, ss, r, None if r_affine is None else r_affine.mu, keep
        )
        if g is not None:
            dy, kept = g, None
        norm = self.norm or IDENTITY
        w = self.projection.weight.to(a.dtype)
        d = dq.sum(3).sum(2).sum(0)  # (1,); axis by axis, so that one thread sums an axis, however many there are
        dw = affine.scale * by_q.sum(0) + (0 if norm.beta is None else norm.beta * d)
        s, dz, gate = torch.zeros_like(a), None, (None, None, None, None)
        dbeta, dgamma = a_ss, (b_ss + w * by_q) * affine.istd
        if self.gate is not None and saved.excited is not None:
            s = gained(saved.excited.s, self.gate)
            b = b * affine.istd
            dz, gate = excitation_gradients(self.gate, saved.excited, times(b, norm.gamma) + (0 if norm.beta is None else norm.beta * a))
            dbeta, dgamma = dbeta + s * a + dz, dgamma + s * b + dz * (saved.p - affine.mu) * affine.istd
        dbeta, dgamma = dbeta.sum(0) + w * d, dgamma.sum(0)
        kb, kc = through_statistics(norm, affine, dbeta, dgamma, len(x) * positions)
        kc = (kc.expand_as(a) if dz is None else kc + affine.scale * dz / positions).contiguous()
        ka, scale = (affine.scale * s).contiguous(), affine.scale
        dx = kernels.spread_positions(dy, kept, x, ka, kb, kc, scale, scale * w, ss, dq)
        shortcut = dy if has_shortcut else None, None, None
        if r_affine is not None and self.r_norm is not None and by_r is not None and r is not None:
            shortcut = projected_gradients(kernels, self.r_norm, r_affine, dy, kept, r, a, by_r)
        return SpatialGradients(dx, shortcut[0], dgamma, dbeta, *shortcut[1:], *gate, dw, d)


@dataclass(frozen=True)
class SpatialSaved(Saved):
    """Hold the small things that the backward pass needs: those of a `Tail`, BN's shift (C,), and the gates ss (N, 1, H, W)."""

    COUNT: ClassVar[int] = Saved.COUNT + 2
    shift: Tensor
    ss: Tensor

    def tensors(self) -> list[Tensor | None]:
        """Return them in a row of `COUNT`, for autograd to keep."""
        return [*super().tensors(), self.shift, self.ss]

    @classmethod
    def of(cls, row: list[Any]) -> "SpatialSaved":
        """Put a row back."""
        saved = Saved.of(row[: Saved.COUNT])
        return cls(saved.p, saved.affine, saved.r_affine, saved.excited, *row[Saved.COUNT :])


@dataclass(frozen=True)
class SpatialGradients(Gradients):
    """Hold the gradients of a spatial tail: those of a `Tail`, and of the projection's weight (C,) and bias (1,)."""

    weight: Tensor
    bias: Tensor
