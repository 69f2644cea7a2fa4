"""The passes over pairs of maps that the tail of a pre-activation unit is made of, and their definition in torch's operations.

Shapes, types and promises are those of `senet.ops.passes.protocol`; u is the branch, r the shortcut, v = s u + r their sum.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from senet.ops.passes.maps import over_positions, precision
from senet.ops.passes.torch import masked

Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of each pair of maps, all (N, C): means of u and r, centred sums of u u, u r and r r."""


@runtime_checkable
class PairKernels(Protocol):
    """The passes; `preactivated` combines them to the forward and backward of a tail."""

    def pair_moments(self, u: Tensor, r: Tensor) -> Moments:
        """Read u and r once; return `Moments`."""
        ...

    def apply_pair(self, u: Tensor, r: Tensor, s: Tensor, k: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return v = s u + r and a = relu(k v + t); s is (N, C), k and t are (C,)."""
        ...

    def reduce_pair(
        self, da: Tensor, a: Tensor, v: Tensor, mu: Tensor, u: Tensor, dv: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sum over positions with g = da, zero where a is not positive; dv is a gradient of v, or None = 0.

        Returns:
            sum g, sum g (v - mu), sum g u and sum dv u, each (N, C); mu is (C,).
        """
        ...

    def spread_pair(
        self, da: Tensor, a: Tensor, v: Tensor, k: Tensor, kb: Tensor | None, kc: Tensor, dv: Tensor | None, s: Tensor, dz: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return dr = k g + kb v + kc + dv and du = s dr + dz, with g and dv as in `reduce_pair`; s and dz are (N, C), the others (C,)."""
        ...


class TorchPairKernels:
    """The definition: whole maps in at least float32, one operation after the other."""

    def pair_moments(self, u: Tensor, r: Tensor) -> Moments:
        """See `PairKernels`."""
        u, r = u.to(precision(u)), r.to(precision(r))
        pu, pr = u.mean((2, 3)), r.mean((2, 3))
        u, r = u - over_positions(pu), r - over_positions(pr)
        return pu, pr, (u * u).sum((2, 3)), (u * r).sum((2, 3)), (r * r).sum((2, 3))

    def apply_pair(self, u: Tensor, r: Tensor, s: Tensor, k: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        v = torch.addcmul(r.to(s.dtype), u.to(s.dtype), over_positions(s))
        return v.to(u.dtype), torch.relu_(torch.addcmul(over_positions(t), v, over_positions(k))).to(u.dtype)

    def reduce_pair(
        self, da: Tensor, a: Tensor, v: Tensor, mu: Tensor, u: Tensor, dv: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `PairKernels`."""
        g, u = masked(da, a).to(mu.dtype), u.to(mu.dtype)
        by_u, by_v = (g * u).sum((2, 3)), (g * (v - over_positions(mu))).sum((2, 3))
        return g.sum((2, 3)), by_v, by_u, torch.zeros_like(by_u) if dv is None else (dv * u).sum((2, 3))

    def spread_pair(
        self, da: Tensor, a: Tensor, v: Tensor, k: Tensor, kb: Tensor | None, kc: Tensor, dv: Tensor | None, s: Tensor, dz: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        dr = torch.addcmul(over_positions(kc), masked(da, a).to(k.dtype), over_positions(k))
        dr = dr if kb is None else torch.addcmul(dr, v.to(k.dtype), over_positions(kb))
        dr = dr if dv is None else dr + dv
        return dr.to(da.dtype), torch.addcmul(over_positions(dz), dr, over_positions(s)).to(da.dtype)
