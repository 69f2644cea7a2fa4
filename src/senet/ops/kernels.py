"""The four passes over maps that a residual tail is made of, as every backend has them, and their definition in torch's operations.

Maps are (N, C, H, W) of one memory format and type. Vectors over images and channels, (N, C), and over channels, (C,), are float32, for
float64 maps float64. S = H W. No pass writes to what it is given, and each is deterministic.
"""

from typing import Protocol

import torch
from torch import Tensor


class Kernels(Protocol):
    """The passes; `fused` combines them to the forward and backward of a tail."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """Read x once.

        Returns:
            The mean p of each map, (N, C), and its centred sum of squares m2 = sum (x - p)^2, (N, C); m2 is zero unless `centred`.
        """
        ...

    def apply(self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool) -> Tensor:
        """Return f(k x + t + shortcut), with k and t (N, C) and the shortcut rk r + rt, r, or nothing; rk and rt are (C,)."""
        ...

    def reduce(
        self, dy: Tensor, y: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sum over positions with g = dy, zero where y is given and not positive.

        Returns:
            A = sum g, B = sum g (x - mu), for a projected shortcut sum g (r - r_mu), each (N, C), and if `keep` is set g itself, a new map;
            mu and r_mu are (C,).
        """
        ...

    def spread(self, dy: Tensor, y: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """Return ka g + kb x + kc with g as in `reduce`; ka and kc are (N, C), kb is (C,), None = 0."""
        ...


def precision(x: Tensor) -> torch.dtype:
    """Return the type in which sums over a map are kept: at least float32."""
    return torch.promote_types(x.dtype, torch.float32)


def over_positions(v: Tensor) -> Tensor:
    """Shape (N, C) or (C,) so that it applies to (N, C, H, W)."""
    return v[..., None, None]


class TorchKernels:
    """The definition: whole maps in at least float32, one operation after the other."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        x = x.to(precision(x))
        p = x.mean((2, 3))
        return p, (x - over_positions(p)).square_().sum((2, 3)) if centred else torch.zeros_like(p)

    def apply(self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool) -> Tensor:
        """See `Kernels`."""
        v = torch.addcmul(over_positions(t), x.to(k.dtype), over_positions(k))
        if r is not None:
            v = v + r if rk is None else torch.addcmul(v, r.to(rk.dtype), over_positions(rk))
        if rt is not None:
            v = v + over_positions(rt)
        return (torch.relu_(v) if relu else v).to(x.dtype)

    def reduce(
        self, dy: Tensor, y: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """See `Kernels`."""
        g = masked(dy, y)
        wide = g.to(mu.dtype)
        by_r = None if r is None or r_mu is None else (wide * (r - over_positions(r_mu))).sum((2, 3))
        kept = (g.clone() if g is dy else g) if keep else None
        return wide.sum((2, 3)), (wide * (x - over_positions(mu))).sum((2, 3)), by_r, kept

    def spread(self, dy: Tensor, y: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """See `Kernels`."""
        dx = torch.addcmul(over_positions(kc), masked(dy, y).to(ka.dtype), over_positions(ka))
        return (dx if kb is None else torch.addcmul(dx, x.to(kb.dtype), over_positions(kb))).to(x.dtype)


class CompiledKernels(TorchKernels):
    """The definition through torch.compile, which makes each pass one loop."""

    def __init__(self) -> None:
        for name in ("moments", "apply", "reduce", "spread"):
            setattr(self, name, torch.compile(getattr(super(), name), dynamic=False))


def masked(dy: Tensor, y: Tensor | None) -> Tensor:
    """Return the gradient where y is positive, and 0 elsewhere; all of it if y is None."""
    return dy if y is None else torch.where(y > 0, dy, 0)
