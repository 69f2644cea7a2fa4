"""The passes over pairs in C++ as `senet.ops.passes.protocol.PairKernels`; `pairs.cpp` holds them, the library must be loaded before."""

import torch
from torch import Tensor

from senet.ops.passes.cpp.operators import OPERATORS
from senet.ops.passes.terms import PairCoefficients, PairGradient, PairMoments, PairSums


class CppPairKernels:
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def pair_moments(self, u: Tensor, r: Tensor) -> PairMoments:
        """See `PairKernels`."""
        return PairMoments(*OPERATORS.pair_moments(u, r))

    def apply_pair(self, u: Tensor, r: Tensor, gates: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        gates = scale.new_ones(u.shape[:2]) if gates is None else gates
        return OPERATORS.apply_pair(u, r, gates, scale, shift)

    def add_pair(self, u: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PairKernels`."""
        v = u + r
        return v, *OPERATORS.moments(v, True)

    def activate(self, v: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """See `PairKernels`."""
        of_maps = (vector.expand(v.shape[:2]) for vector in (scale, shift))
        return OPERATORS.apply(v, *of_maps, None, None, None, True)

    def reduce_pair(self, gradient: PairGradient, mean: Tensor, u: Tensor | None) -> PairSums:
        """See `PairKernels`."""
        da, a, v, dv = gradient.da, gradient.a, gradient.v, gradient.dv
        if u is None:
            g, gv, _, _ = OPERATORS.reduce(da, a, v, mean, None, None, False)
            return PairSums(g, gv, None, None)
        g, gv, gu, dvu = OPERATORS.reduce_pair(da, a, v, mean, u, dv)
        return PairSums(g, gv, gu, None if dv is None else dvu)

    def spread_pair(self, gradient: PairGradient, coefficients: PairCoefficients) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        by_g, by_v, constant = coefficients.by_g, coefficients.by_v, coefficients.constant
        maps = gradient.da, gradient.a, gradient.v
        constant = torch.zeros_like(by_g) if constant is None else constant
        dr, du = OPERATORS.spread_pair(*maps, by_g, by_v, constant, gradient.dv, coefficients.gates, coefficients.squeeze)
        return dr, dr if coefficients.gates is None else du
