"""The end of a pre-activation unit with the beginning of the next in one operator: SE, shortcut, BN and ReLU.

The variance of v = s u + r over the positions of an image is s^2 Var u + 2 s Cov(u, r) + Var r: one read of the branch u and the shortcut r
gives the squeeze, hence the gates s, and the statistics of the BN behind the sum. a = relu(scale v + shift) is what the next unit's
convolution sees, v what its shortcut carries.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from senet.ops.passes.protocol import PairKernels
from senet.ops.passes.terms import PairCoefficients, PairGradient
from senet.ops.tail.batchnorm import BatchNorm, Normalization, Statistics, normalization, statistics_gradient
from senet.ops.tail.gates import Excitation, Excited, excite_backward, excite_forward, with_gain
from senet.ops.tail.rows import Gradients, TailTensors, TensorRow


@dataclass(frozen=True)
class PreactivatedSaved:
    """Values of the forward pass that the backward pass needs.

    Args:
        u: the branch, (N, C, H, W); None where it is not gated, as all but v and a that are maps or (N, C).
        v: the sum.
        a: the sum, normalised and rectified.
        means: of v, (N, C).
        uv: centred sums of u v, (N, C).
        normalization: what the normalisation did.
        shift: of the normalisation, (C,).
        excited: the gates; their squeeze is the means of u.
    """

    u: Tensor | None
    v: Tensor
    a: Tensor
    means: Tensor | None
    uv: Tensor | None
    normalization: Normalization
    shift: Tensor
    excited: Excited | None

    def row(self) -> TensorRow:
        """Return the tensors in a fixed order, for autograd to keep; `COUNT` says how many."""
        n, e = self.normalization, self.excited
        excited = (None, None, None) if e is None else (e.squeeze, e.hidden, e.gates)
        return (self.u, self.v, self.a, self.means, self.uv, n.mean, n.inverse_std, n.scale, self.shift, *excited)

    @classmethod
    def of(cls, row: Any) -> "PreactivatedSaved":
        """Return what `row` took apart."""
        u, v, a, means, uv, mean, inverse_std, scale, shift, squeeze, hidden, gates = row
        excited = None if squeeze is None else Excited(squeeze, hidden, gates)
        return cls(u, v, a, means, uv, Normalization(mean, inverse_std, scale), shift, excited)

    def gradient(self, da: Tensor, dv: Tensor | None) -> PairGradient:
        """Return the gradients of v and a as the passes take them."""
        return PairGradient(self.v, self.a, da, dv, self.normalization.scale, self.shift)


COUNT = 12
"""How many tensors a `PreactivatedSaved` has."""


@dataclass(frozen=True)
class PreactivatedOutput:
    """Results of the forward pass: v and a, in what it saved, and the statistics of the batch, None if they are not used."""

    saved: PreactivatedSaved
    statistics: Statistics | None

    def row(self) -> TensorRow:
        """Return v, a, and mean and variance of the batch."""
        statistics = (None, None) if self.statistics is None else (self.statistics.mean, self.statistics.var)
        return (self.saved.v, self.saved.a, *statistics)


@dataclass(frozen=True)
class PreactivatedTail:
    """Tail of a pre-activation unit whose block gates channels, or that has none.

    Args:
        gate: the excitation, or None for a plain unit.
        norm: the next unit's first normalisation.
    """

    gate: Excitation | None
    norm: BatchNorm

    def forward(self, kernels: PairKernels, u: Tensor, r: Tensor) -> PreactivatedOutput:
        """Map branch and shortcut (N, C, H, W) to v and a."""
        if self.gate is None:
            return self._add(kernels, u, r)
        moments = kernels.pair_moments(u, r)
        excited = excite_forward(self.gate, moments.u)
        s = with_gain(excited.gates, self.gate)
        means, squares = s * moments.u + moments.r, s * s * moments.uu + 2 * s * moments.ur + moments.rr
        found, statistics = normalization(self.norm, means, squares, u.shape[2] * u.shape[3])
        shift = found.shift(self.norm)
        v, a = kernels.apply_pair(u, r, s, found.scale, shift)
        return PreactivatedOutput(PreactivatedSaved(u, v, a, means, s * moments.uu + moments.ur, found, shift, excited), statistics)

    def _add(self, kernels: PairKernels, u: Tensor, r: Tensor) -> PreactivatedOutput:
        """Map branch and shortcut without gates: the sum is written as its moments are taken, so it need not be made twice."""
        v, means, squares = kernels.add_pair(u, r, self.norm.use_batch)
        found, statistics = normalization(self.norm, means, squares, u.shape[2] * u.shape[3])
        shift = found.shift(self.norm)
        a = kernels.activate(v, found.scale, shift)
        return PreactivatedOutput(PreactivatedSaved(None, v, a, None, None, found, shift, None), statistics)

    def backward(self, kernels: PairKernels, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved) -> Gradients:
        """Return the gradients of everything that `forward` took, the branch's in the place of x.

        Args:
            kernels: the passes.
            dv: gradient of v as the next unit's shortcut; None = 0.
            da: gradient of a.
            saved: what `forward` saved.
        """
        found, positions = saved.normalization, saved.v.shape[2] * saved.v.shape[3]
        gradient = saved.gradient(da, dv)
        sums = kernels.reduce_pair(gradient, found.mean, saved.u)
        dbeta, dgamma = sums.g.sum(0), found.inverse_std * sums.gv.sum(0)
        by_v, constant = statistics_gradient(self.norm, found, dbeta, dgamma, len(saved.v) * positions)
        if self.gate is None or saved.excited is None:
            dr, du = kernels.spread_pair(gradient, PairCoefficients(found.scale, by_v, constant))
            return Gradients(du, dr, TailTensors(dgamma, dbeta))
        squeeze, s = saved.excited.squeeze, with_gain(saved.excited.gates, self.gate)
        dgates = found.scale * sums.gu + constant * positions * squeeze
        if sums.dvu is not None:
            dgates = dgates + sums.dvu
        if by_v is not None:
            dgates = dgates + by_v * (saved.uv + positions * saved.means * squeeze)
        gate = excite_backward(self.gate, saved.excited, dgates)
        dr, du = kernels.spread_pair(gradient, PairCoefficients(found.scale, by_v, constant, s, gate.squeeze / positions))
        return Gradients(du, dr, TailTensors(dgamma, dbeta, **gate.weights))
