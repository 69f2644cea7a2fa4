"""The passes over pairs in C++ as `senet.ops.passes.protocol.PairKernels`; `pairs.cpp` holds them, the library must be loaded before."""

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.terms import PairCoefficients, PairGradient, PairMoments, PairSums

OPERATORS = torch.ops.senet_cpp


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


def register_pair_shapes() -> None:
    """Tell torch what the operators return, for tensors without data."""
    for name, count in (("pair_moments", 5), ("reduce_pair", 4)):
        torch.library.register_fake(f"senet_cpp::{name}", lambda x, *rest, count=count: tuple(_sums(x) for _ in range(count)))
    for name in ("apply_pair", "spread_pair"):
        torch.library.register_fake(f"senet_cpp::{name}", lambda x, *rest: (torch.empty_like(x), torch.empty_like(x)))


def _sums(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=precision(x))
