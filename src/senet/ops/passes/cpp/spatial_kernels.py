"""The passes that gate positions in C++, part of the protocol `Kernels`; `spatial.cpp` holds them, the library is loaded before."""

from typing import cast

import torch
from torch import Tensor

from senet.ops.passes.maps import precision

OPERATORS = torch.ops.senet_cpp


class CppSpatialKernels:
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def apply_positions(
        self,
        x: Tensor,
        k: Tensor,
        t: Tensor,
        w: Tensor,
        b: Tensor,
        s: Tensor | None,
        r: Tensor | None,
        rk: Tensor | None,
        rt: Tensor | None,
        relu: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """See `Kernels`."""
        y, ss = cast(tuple[Tensor, Tensor], OPERATORS.apply_positions(x, k, t, w, b, s, r, rk, rt, relu))
        return y, y if relu else None, ss

    def reduce_positions(
        self,
        dy: Tensor,
        kept: Tensor | None,
        x: Tensor,
        mu: Tensor,
        k: Tensor,
        t: Tensor,
        ss: Tensor,
        r: Tensor | None,
        r_mu: Tensor | None,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None]:
        """See `Kernels`."""
        return OPERATORS.reduce_positions(dy, kept, x, mu, k, t, ss, r, r_mu, keep)

    def spread_positions(
        self,
        dy: Tensor,
        kept: Tensor | None,
        x: Tensor,
        ka: Tensor,
        kb: Tensor | None,
        kc: Tensor,
        ks: Tensor,
        kw: Tensor,
        ss: Tensor,
        dq: Tensor,
    ) -> Tensor:
        """See `Kernels`."""
        return cast(Tensor, OPERATORS.spread_positions(dy, kept, x, ka, kb, kc, ks, kw, ss, dq))


def register_spatial_shapes() -> None:
    """Tell torch what the operators return, for tensors without data."""
    for shapes in (_apply_positions, _reduce_positions, _spread_positions):
        torch.library.register_fake(f"senet_cpp::{shapes.__name__.removeprefix('_')}", shapes)


def _apply_positions(x: Tensor, *rest: Tensor | bool | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _positions(x)


def _reduce_positions(
    dy: Tensor,
    y: Tensor | None,
    x: Tensor,
    mu: Tensor,
    k: Tensor,
    t: Tensor,
    ss: Tensor,
    r: Tensor | None,
    r_mu: Tensor | None,
    keep: bool,
) -> tuple[Tensor | None, ...]:
    sums = [x.new_empty(x.shape[:2], dtype=precision(x)) for _ in range(6)]
    return *sums[:5], None if r_mu is None else sums[5], _positions(x), torch.empty_like(x) if keep else None


def _spread_positions(dy: Tensor, *rest: Tensor | None) -> Tensor:
    return torch.empty_like(dy)


def _positions(x: Tensor) -> Tensor:
    return x.new_empty((len(x), 1, *x.shape[2:]), dtype=precision(x))
