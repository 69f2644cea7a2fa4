"""The passes over pairs in C++ as `senet.ops.passes.protocol.PairKernels`; `pairs.cpp` holds them, the library must be loaded before."""

from torch import Tensor

from senet.ops.passes.cpp.operators import OPERATORS
from senet.ops.passes.terms import PairCoefficients, PairGradient, PairMoments, PairSums


class CppPairKernels:
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def pair_moments(self, u: Tensor, r: Tensor) -> PairMoments:
        """See `PairKernels`."""
        return PairMoments(*OPERATORS.pair_moments(u, r))

    def apply_pair(self, u: Tensor, r: Tensor, gates: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        return OPERATORS.apply_pair(u, r, gates, scale, shift)

    def reduce_pair(self, gradient: PairGradient, mean: Tensor, u: Tensor) -> PairSums:
        """See `PairKernels`."""
        return PairSums(*OPERATORS.reduce_pair(gradient.da, gradient.a, gradient.v, mean, u, gradient.dv))

    def spread_pair(self, gradient: PairGradient, coefficients: PairCoefficients) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        by_g, by_v, constant = coefficients.by_g, coefficients.by_v, coefficients.constant
        maps = gradient.da, gradient.a, gradient.v
        return OPERATORS.spread_pair(*maps, by_g, by_v, constant, gradient.dv, coefficients.gates, coefficients.squeeze)
