"""The passes over pairs in C++ as `senet.ops.passes.pairs.PairKernels`; `pairs.cpp` holds them, the library must be loaded before."""

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.pairs import Moments

OPERATORS = torch.ops.senet_cpp


class CppPairKernels:
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def pair_moments(self, u: Tensor, r: Tensor) -> Moments:
        """See `PairKernels`."""
        return OPERATORS.pair_moments(u, r)

    def apply_pair(self, u: Tensor, r: Tensor, s: Tensor, k: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        return OPERATORS.apply_pair(u, r, s, k, t)

    def reduce_pair(
        self, da: Tensor, a: Tensor, v: Tensor, mu: Tensor, u: Tensor, dv: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `PairKernels`."""
        return OPERATORS.reduce_pair(da, a, v, mu, u, dv)

    def spread_pair(
        self, da: Tensor, a: Tensor, v: Tensor, k: Tensor, kb: Tensor | None, kc: Tensor, dv: Tensor | None, s: Tensor, dz: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        return OPERATORS.spread_pair(da, a, v, k, kb, kc, dv, s, dz)


def register_pair_shapes() -> None:
    """Tell torch what the operators return, for tensors without data."""
    for name, count in (("pair_moments", 5), ("reduce_pair", 4)):
        torch.library.register_fake(f"senet_cpp::{name}", lambda x, *rest, count=count: tuple(_sums(x) for _ in range(count)))
    for name in ("apply_pair", "spread_pair"):
        torch.library.register_fake(f"senet_cpp::{name}", lambda x, *rest: (torch.empty_like(x), torch.empty_like(x)))


def _sums(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=precision(x))
