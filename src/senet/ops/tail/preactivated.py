"""The end of a pre-activation unit with the beginning of the next in one operator: SE, shortcut, BN and ReLU.

The variance of v = s u + r over the positions of an image is s^2 Var u + 2 s Cov(u, r) + Var r: one read of the branch u and the shortcut r
gives the squeeze, hence the gates s, and the statistics of the BN behind the sum. a = relu(scale v + shift) is what the next unit's
convolution sees, v what its shortcut carries.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.protocol import PairKernels, TailKernels
from senet.ops.passes.terms import PairCoefficients, PairGradient
from senet.ops.tail.batchnorm import BatchNorm, Normalization, Statistics, normalization, statistics_gradient
from senet.ops.tail.gates import Excitation, Excited, excite_backward, excite_forward, with_gain
from senet.ops.tail.rows import Gradients, TailTensors, TensorRow


@dataclass(frozen=True)
class GatedBranch:
    """Values of the forward pass that the gradient of a gated branch needs.

    Args:
        map: the branch u, (N, C, H, W).
        means: of v, (N, C).
        uv: centred sums of u v, (N, C).
        excited: the gates; their squeeze is the means of u.
    """

    map: Tensor
    means: Tensor
    uv: Tensor
    excited: Excited


@dataclass(frozen=True)
class PreactivatedSaved:
    """Values of the forward pass that the backward pass needs.

    Args:
        v: the sum, (N, C, H, W).
        a: the sum, normalised and rectified.
        normalization: what the normalisation did.
        shift: of the normalisation, (C,).
        branch: of a plain unit None.
    """

    v: Tensor
    a: Tensor
    normalization: Normalization
    shift: Tensor
    branch: GatedBranch | None

    def row(self) -> TensorRow:
        """Return the tensors in a fixed order, for autograd to keep; `COUNT` says how many."""
        n, b = self.normalization, self.branch
        branch = (None,) * 6
        if b is not None:
            branch = b.map, b.means, b.uv, b.excited.squeeze, b.excited.hidden, b.excited.gates
        return (self.v, self.a, n.mean, n.inverse_std, n.scale, self.shift, *branch)

    @classmethod
    def of(cls, row: Any) -> "PreactivatedSaved":
        """Return what `row` took apart."""
        v, a, mean, inverse_std, scale, shift, u, means, uv, squeeze, hidden, gates = row
        branch = None if u is None else GatedBranch(u, means, uv, Excited(squeeze, hidden, gates))
        return cls(v, a, Normalization(mean, inverse_std, scale), shift, branch)

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
        whole = kernels.pair_forward(self, u, r) if isinstance(kernels, TailKernels) else None
        return whole or self._forward(kernels, u, r)

    def _forward(self, kernels: PairKernels, u: Tensor, r: Tensor) -> PreactivatedOutput:
        if self.gate is None:
            return self._add(kernels, u, r)
        moments = kernels.pair_moments(u, r)
        excited = excite_forward(self.gate, moments.u)
        s = with_gain(excited.gates, self.gate)
        means, squares = s * moments.u + moments.r, s * s * moments.uu + 2 * s * moments.ur + moments.rr
        found, statistics = normalization(self.norm, means, squares, u.shape[2] * u.shape[3])
        shift = found.shift(self.norm)
        v, a = kernels.apply_pair(u, r, s, found.scale, shift)
        branch = GatedBranch(u, means, s * moments.uu + moments.ur, excited)
        return PreactivatedOutput(PreactivatedSaved(v, a, found, shift, branch), statistics)

    def _add(self, kernels: PairKernels, u: Tensor, r: Tensor) -> PreactivatedOutput:
        """Map branch and shortcut without gates: the sum is written as its moments are taken, so it need not be made twice."""
        if self.norm.use_batch:
            v, means, squares = kernels.add_pair(u, r)
            found, statistics = normalization(self.norm, means, squares, u.shape[2] * u.shape[3])
            shift = found.shift(self.norm)
            a = kernels.activate(v, found.scale, shift)
        else:
            nothing = u.new_zeros(u.shape[:2], dtype=precision(u))
            found, statistics = normalization(self.norm, nothing, nothing, u.shape[2] * u.shape[3])
            shift = found.shift(self.norm)
            v, a = kernels.apply_pair(u, r, None, found.scale, shift)
        return PreactivatedOutput(PreactivatedSaved(v, a, found, shift, None), statistics)

    def backward(self, kernels: PairKernels, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved) -> Gradients:
        """Return the gradients of everything that `forward` took, the branch's in the place of x.

        Args:
            kernels: the passes.
            dv: gradient of v as the next unit's shortcut; None = 0.
            da: gradient of a.
            saved: what `forward` saved.
        """
        whole = kernels.pair_backward(self, dv, da, saved) if isinstance(kernels, TailKernels) else None
        return whole or self._backward(kernels, dv, da, saved)

    def _backward(self, kernels: PairKernels, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved) -> Gradients:
        found, positions = saved.normalization, saved.v.shape[2] * saved.v.shape[3]
        gradient, branch = saved.gradient(da, dv), saved.branch
        sums = kernels.reduce_pair(gradient, found.mean, None if branch is None else branch.map)
        dbeta, dgamma = sums.g.sum(0), found.inverse_std * sums.gv.sum(0)
        by_v, constant = statistics_gradient(self.norm, found, dbeta, dgamma, len(saved.v) * positions)
        if self.gate is None or branch is None or sums.gu is None:
            dr, du = kernels.spread_pair(gradient, PairCoefficients(found.scale, by_v, constant))
            return Gradients(du, dr, TailTensors(dgamma, dbeta))
        squeeze, s = branch.excited.squeeze, with_gain(branch.excited.gates, self.gate)
        dgates = found.scale * sums.gu + constant * positions * squeeze
        if sums.dvu is not None:
            dgates = dgates + sums.dvu
        if by_v is not None:
            dgates = dgates + by_v * (branch.uv + positions * branch.means * squeeze)
        gate = excite_backward(self.gate, branch.excited, dgates)
        dr, du = kernels.spread_pair(gradient, PairCoefficients(found.scale, by_v, constant, s, gate.squeeze / positions))
        return Gradients(du, dr, TailTensors(dgamma, dbeta, **gate.weights))
