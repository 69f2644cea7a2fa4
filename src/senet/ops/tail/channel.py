"""A residual tail in one operator: BN, SE, shortcut and ReLU without passes of their own.

The squeeze of BN(x) is affine in the means of x, from which BN has its statistics too, so SE needs no pass over the map that BN does not
make; in the backward pass the sums that BN needs give the gate's gradient. Only x and y are kept, and r for a projected shortcut.

Names: x is the output of the branch's last convolution, r the shortcut, p means and m2 centred squares over the S positions of each map;
mu and istd are BN's statistics, u = scale x + shift its output, z = scale p + shift the squeeze, s the gate (Hu et al., 1709.01507,
eq. 2-4), y = relu(s u + shortcut). dv stands for the gradient of the loss by v.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.protocol import Kernels
from senet.ops.tail.gates import Excitation, Excited, excitation_gradients, excite, gained
from senet.ops.tail.ranks import merged, summed


@dataclass(frozen=True)
class Norm:
    """Hold a batch normalisation as data.

    Args:
        gamma: weight (C,); None = 1.
        beta: bias (C,); None = 0.
        mean: running mean (C,), for evaluation.
        var: running variance (C,), for evaluation.
        batch: whether the batch's statistics are used instead.
        eps: what is added to the variance.
        group: the processes that share a batch (SyncBatchNorm); None = this one has its own.
    """

    gamma: Tensor | None
    beta: Tensor | None
    mean: Tensor | None
    var: Tensor | None
    batch: bool
    eps: float
    group: Any = None


@dataclass(frozen=True)
class Affine:
    """Hold what a normalisation does to a map, all (C,): u = scale (x - mu) + beta, scale = gamma istd, istd = 1 / sqrt(var + eps)."""

    mu: Tensor
    istd: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Tail:
    """Say what a tail is made of; `forward` and `backward` are its mathematics, on the passes of a backend.

    Args:
        norm: the branch's last normalisation, or None.
        gate: the excitation, or None for a plain unit.
        r_norm: the normalisation of a projected shortcut, or None.
        relu: whether a ReLU ends the unit.
    """

    norm: Norm | None
    gate: Excitation | None
    r_norm: Norm | None
    relu: bool

    @property
    def saved_type(self) -> "type[Saved]":
        """What holds the small things that the backward pass needs."""
        return Saved

    def forward(self, kernels: Kernels, x: Tensor, r: Tensor | None) -> "Passed":
        """Map x (N, C, H, W) and the shortcut, a map of that shape or None, to y."""
        p, affine, shift, statistics = normalise(kernels, x, self.norm, squeeze=self.gate is not None)
        excited = None if self.gate is None else excite(self.gate, affine.scale * p + shift)
        s = p.new_ones(()) if self.gate is None or excited is None else gained(excited.s, self.gate)
        k, t = (torch.broadcast_to(s * v, p.shape).contiguous() for v in (affine.scale, shift))
        if r is None or self.r_norm is None:
            y, kept = kernels.apply(x, k, t, r, None, None, self.relu)
            return Passed(y, kept, Saved(p, affine, None, excited), (*statistics, None, None))
        _, r_affine, r_shift, r_statistics = normalise(kernels, r, self.r_norm, squeeze=False)
        y, kept = kernels.apply(x, k, t, r, r_affine.scale, r_shift, self.relu)
        return Passed(y, kept, Saved(p, affine, r_affine, excited), (*statistics, *r_statistics))

    def backward(
        self, kernels: Kernels, dy: Tensor, kept: Tensor | None, x: Tensor, r: Tensor | None, saved: "Saved", has_shortcut: bool
    ) -> "Gradients":
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
        affine, r_affine, p = saved.affine, saved.r_affine, saved.p
        positions = x.shape[2] * x.shape[3]
        keep = has_shortcut and r_affine is None and kept is not None  # without a ReLU the shortcut's gradient is dy itself
        a, b, by_r, g = kernels.reduce(dy, kept, x, affine.mu, r, None if r_affine is None else r_affine.mu, keep)
        if g is not None:
            dy, kept = g, None
        b = b * affine.istd
        norm = self.norm or IDENTITY
        s, dz, gate = torch.ones_like(a), None, (None, None, None, None)
        if self.gate is not None and saved.excited is not None:
            s = gained(saved.excited.s, self.gate)
            ds = times(b, norm.gamma) + (0 if norm.beta is None else norm.beta * a)
            dz, gate = excitation_gradients(self.gate, saved.excited, ds)
        dbeta, dgamma = s * a, s * b
        if dz is not None:
            dbeta, dgamma = dbeta + dz, dgamma + dz * (p - affine.mu) * affine.istd
        dbeta, dgamma = dbeta.sum(0), dgamma.sum(0)
        kb, kc = through_statistics(norm, affine, dbeta, dgamma, len(x) * positions)
        kc = kc.expand_as(a) if dz is None else kc + affine.scale * dz / positions
        dx = kernels.spread(dy, kept, x, (affine.scale * s).contiguous(), kb, kc.contiguous())
        shortcut = dy if has_shortcut else None, None, None
        if r_affine is not None and self.r_norm is not None and by_r is not None and r is not None:
            shortcut = projected_gradients(kernels, self.r_norm, r_affine, dy, kept, r, a, by_r)
        return Gradients(dx, shortcut[0], dgamma, dbeta, *shortcut[1:], *gate)


Statistics = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""Mean and unbiased variance (C,) of the branch, and of the projected shortcut; None where no normalisation used the batch's."""


@dataclass(frozen=True)
class Saved:
    """Hold the small things that the backward pass needs: means p (N, C), what the normalisations did, and the gate."""

    COUNT: ClassVar[int] = 10
    p: Tensor
    affine: Affine
    r_affine: Affine | None
    excited: Excited | None

    def tensors(self) -> list[Tensor | None]:
        """Return them in a row of `COUNT`, for autograd to keep."""
        r_affine = [None] * 3 if self.r_affine is None else [self.r_affine.mu, self.r_affine.istd, self.r_affine.scale]
        excited = [None] * 3 if self.excited is None else [self.excited.z, self.excited.h, self.excited.s]
        return [self.p, self.affine.mu, self.affine.istd, self.affine.scale, *r_affine, *excited]

    @classmethod
    def of(cls, row: list[Any]) -> "Saved":
        """Put a row back."""
        return cls(row[0], Affine(*row[1:4]), None if row[4] is None else Affine(*row[4:7]), None if row[7] is None else Excited(*row[7:]))


@dataclass(frozen=True)
class Passed:
    """Hold what the forward pass made: y, what the passes kept of it, what else is saved, and the batch's statistics."""

    y: Tensor
    kept: Tensor | None
    saved: Saved
    statistics: Statistics


@dataclass(frozen=True)
class Gradients:
    """Hold the gradients of a tail, in at least float32 but for the maps; None where there is nothing to give one to."""

    x: Tensor
    r: Tensor | None
    gamma: Tensor
    beta: Tensor
    r_gamma: Tensor | None
    r_beta: Tensor | None
    w1: Tensor | None
    b1: Tensor | None
    w2: Tensor | None
    b2: Tensor | None


IDENTITY = Norm(None, None, None, None, batch=False, eps=0.0)
"""What stands in for a normalisation where there is none."""


def through_statistics(norm: Norm, affine: Affine, dbeta: Tensor, dgamma: Tensor, count: int) -> tuple[Tensor | None, Tensor]:
    """Return kb and kc (C,) of what the batch's mean and variance add to the gradient of x: kb x + kc."""
    if not norm.batch:
        return None, torch.zeros_like(affine.mu)
    dbeta, dgamma, total = summed(dbeta, dgamma, count, norm.group)
    kb = -affine.scale * affine.istd * dgamma / total
    return kb, -affine.scale * dbeta / total - kb * affine.mu


def projected_gradients(
    kernels: Kernels, norm: Norm, affine: Affine, dy: Tensor, kept: Tensor | None, r: Tensor, a: Tensor, by_r: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a normalised shortcut r, of its gamma and of its beta.

    Args:
        kernels: the passes.
        norm: the shortcut's normalisation.
        affine: what it does.
        dy: gradient of the output.
        kept: what the first pass kept of the output, if a ReLU ended it.
        r: the shortcut.
        a: sums of the gradient behind the ReLU, (N, C).
        by_r: sums of its products with r - mu, (N, C).
    """
    dbeta, dgamma = a.sum(0), (by_r * affine.istd).sum(0)
    rb, rc = through_statistics(norm, affine, dbeta, dgamma, r.numel() // r.shape[1])
    ra, rc = (v.expand_as(a).contiguous() for v in (affine.scale, rc))
    return kernels.spread(dy, kept, r, ra, rb, rc), dgamma, dbeta


def normaliser(norm: Norm, p: Tensor, m2: Tensor, positions: int) -> tuple[Affine, Tensor, tuple[Tensor | None, Tensor | None]]:
    """Return what a normalisation does, its shift (C,), and mean and unbiased variance (C,) of the batch, None if it does not use them.

    Args:
        norm: the normalisation.
        p: means of each map, (N, C), in the type of the results.
        m2: their centred squares, (N, C), if the batch's statistics are used.
        positions: S.
    """
    statistics = None, None
    if norm.batch:
        mu = p.mean(0)
        squares = m2.sum(0) + positions * (p - mu).square().sum(0)  # exact in two levels (Chan et al.)
        mu, squares, count = merged(mu, squares, len(p) * positions, norm.group)
        var, statistics = squares / count, (mu, squares / (count - 1))
    else:
        zero = p.new_zeros(p.shape[1])
        mu = zero if norm.mean is None else norm.mean.to(p.dtype)
        var = zero + 1 if norm.var is None else norm.var.to(p.dtype)
    istd = torch.rsqrt(var + norm.eps)
    scale = times(istd, norm.gamma)
    return Affine(mu, istd, scale), -mu * scale if norm.beta is None else norm.beta - mu * scale, statistics


def normalise(kernels: Kernels, x: Tensor, norm: Norm | None, *, squeeze: bool) -> tuple[Tensor, Affine, Tensor, Any]:
    """Return the means of each map (zeros where nobody needs them), what the normalisation does, its shift, and its `Statistics`."""
    norm = norm or IDENTITY
    needed = squeeze or norm.batch
    p, m2 = kernels.moments(x, norm.batch) if needed else (x.new_zeros(len(x), x.shape[1], dtype=precision(x)),) * 2
    return p, *normaliser(norm, p, m2, x.shape[2] * x.shape[3])


def times(v: Tensor, factor: Tensor | None) -> Tensor:
    """Multiply by a factor; None = 1."""
    return v if factor is None else v * factor
