"""The passes in C++ as `senet.ops.passes.protocol.Kernels`; `tail.cpp` holds them, the library must be loaded before."""

from typing import cast

import torch
from torch import Tensor

from senet.ops.passes.cpp.pair_kernels import CppPairKernels, register_pair_shapes
from senet.ops.passes.cpp.spatial_kernels import CppSpatialKernels, register_spatial_shapes
from senet.ops.passes.maps import precision

OPERATORS = torch.ops.senet_cpp


class CppKernels(CppPairKernels, CppSpatialKernels):
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        return OPERATORS.moments(x, centred)

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `Kernels`."""
        y = cast(Tensor, OPERATORS.apply(x, k, t, r, rk, rt, relu))
        return y, y if relu else None

    def kept_like(self, x: Tensor) -> Tensor | None:
        """See `Kernels`."""

    def rescale_(self, y: Tensor, s: Tensor, shortcut: Tensor | None, relu: bool) -> None:
        """Overwrite y (N, C, H, W) by f(s y + shortcut), with s (N, C) and the shortcut a map or nothing; y is dense."""
        OPERATORS.rescale_(y, s, shortcut, relu)

    def excite(self, x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None) -> Tensor:
        """Return W2 relu(W1 z + b1) + b2, (N, C), with z the means of x (N, I, H, W); in float32, for float64 maps in that."""
        return cast(Tensor, OPERATORS.excite(x, w1, b1, w2, b2))

    def reduce(
        self, dy: Tensor, kept: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """See `Kernels`."""
        return OPERATORS.reduce(dy, kept, x, mu, r, r_mu, keep)

    def spread(self, dy: Tensor, kept: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """See `Kernels`."""
        return cast(Tensor, OPERATORS.spread(dy, kept, x, ka, kb, kc))


def register_shapes() -> None:
    """Tell torch what the operators return, for tensors without data."""
    for name in ("moments", "apply", "reduce", "spread"):
        torch.library.register_fake(f"senet_cpp::{name}", globals()[f"_{name}"])
    register_pair_shapes()
    register_spatial_shapes()


def _moments(x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
    return _sums(x), _sums(x)


def _apply(x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool) -> Tensor:
    return torch.empty_like(x)


def _reduce(
    dy: Tensor, y: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    return _sums(x), _sums(x), None if r_mu is None else _sums(x), torch.empty_like(x) if keep else None


def _spread(dy: Tensor, y: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
    return torch.empty_like(x)


def _sums(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=precision(x))
