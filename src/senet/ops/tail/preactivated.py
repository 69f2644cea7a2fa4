"""The end of a pre-activation unit with the beginning of the next in one operator: SE, shortcut, BN and ReLU.

The variance of v = s u + r over the positions of an image is s^2 Var u + 2 s Cov(u, r) + Var r: one read of the branch u and the shortcut r
gives the squeeze, hence the gate s, and the statistics of the BN behind the sum. a = relu(scale v + shift) is what the next unit's
convolution sees, v what its shortcut carries. Names are those of `senet.ops.tail.channel`.
"""

from dataclasses import dataclass

from torch import Tensor

from senet.ops.passes.pairs import PairKernels
from senet.ops.tail.channel import (
    Affine,
    Gradients,
    Norm,
    normaliser,
    through_statistics,
)
from senet.ops.tail.gates import Excitation, Excited, excitation_gradients, excite, gained


@dataclass(frozen=True)
class PreactivatedTail:
    """Say what the tail is made of.

    Args:
        gate: the excitation.
        norm: the next unit's first normalisation.
    """

    gate: Excitation
    norm: Norm

    def forward(self, kernels: PairKernels, u: Tensor, r: Tensor) -> "Passed":
        """Map branch and shortcut (N, C, H, W) to v and a."""
        pu, pr, uu, ur, rr = kernels.pair_moments(u, r)
        excited = excite(self.gate, pu)
        s = gained(excited.s, self.gate)
        p, m2 = s * pu + pr, s * s * uu + 2 * s * ur + rr
        affine, shift, statistics = normaliser(self.norm, p, m2, u.shape[2] * u.shape[3])
        v, a = kernels.apply_pair(u, r, s, affine.scale, shift)
        return Passed(v, a, Saved(p, s * uu + ur, affine, excited), statistics)

    def backward(self, kernels: PairKernels, dv: Tensor | None, da: Tensor, u: Tensor, v: Tensor, a: Tensor, saved: "Saved") -> Gradients:
        """Return the gradients of everything that `forward` took, the branch's in the place of x.

        Args:
            kernels: the passes.
            dv: gradient of v as the next unit's shortcut; None = 0.
            da: gradient of a.
            u: the branch.
            v: the sum.
            a: the sum, normalised and rectified.
            saved: what `forward` saved.
        """
        affine, positions = saved.affine, u.shape[2] * u.shape[3]
        of_g, by_v, by_u, dv_by_u = kernels.reduce_pair(da, a, v, affine.mu, u, dv)
        dbeta, dgamma = of_g.sum(0), affine.istd * by_v.sum(0)
        kb, kc = through_statistics(self.norm, affine, dbeta, dgamma, len(u) * positions)
        pu, s = saved.excited.z, gained(saved.excited.s, self.gate)
        ds = affine.scale * by_u + dv_by_u + kc * positions * pu
        if kb is not None:
            ds = ds + kb * (saved.uv + positions * saved.p * pu)
        dz, gate = excitation_gradients(self.gate, saved.excited, ds)
        dr, du = kernels.spread_pair(da, a, v, affine.scale, kb, kc, dv, s, dz / positions)
        return Gradients(du, dr, dgamma, dbeta, None, None, *gate)


@dataclass(frozen=True)
class Saved:
    """Hold the small things that the backward pass needs.

    Args:
        p: means of v, (N, C).
        uv: centred sums of u v, (N, C).
        affine: what the normalisation does.
        excited: the gate; its squeeze is the means of u.
    """

    p: Tensor
    uv: Tensor
    affine: Affine
    excited: Excited

    def tensors(self) -> list[Tensor]:
        """Return them in a row, for autograd to keep."""
        affine, excited = self.affine, self.excited
        return [self.p, self.uv, affine.mu, affine.istd, affine.scale, excited.z, excited.h, excited.s]

    @classmethod
    def of(cls, row: list[Tensor]) -> "Saved":
        """Put a row back."""
        return cls(row[0], row[1], Affine(*row[2:5]), Excited(*row[5:8]))


@dataclass(frozen=True)
class Passed:
    """Hold what the forward pass made: v, a, what else is saved, and mean and unbiased variance of the batch, None where unused."""

    v: Tensor
    a: Tensor
    saved: Saved
    statistics: tuple[Tensor | None, Tensor | None]
