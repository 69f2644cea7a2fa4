"""The passes over maps that a residual tail is made of, as every backend has them, and their definition in torch's operations.

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

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Map x to y = f(k x + t + shortcut), with k and t (N, C) and the shortcut rk r + rt, r, or nothing; rk and rt are (C,).

        Returns:
            y, and what `reduce` and `spread` are told of it: y itself or a form of its own that says where y is positive; None without
            a ReLU.
        """
        ...

    def kept_like(self, x: Tensor) -> Tensor | None:
        """Return an empty tensor such as `apply` keeps of y with a ReLU; None if that is y itself."""
        ...

    def reduce(
        self, dy: Tensor, kept: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Sum over positions with g = dy, zero where `kept` says that y is not positive.

        Returns:
            A = sum g, B = sum g (x - mu), for a projected shortcut sum g (r - r_mu), each (N, C), and if `keep` is set g itself, a new map;
            mu and r_mu are (C,).
        """
        ...

    def spread(self, dy: Tensor, kept: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """Return ka g + kb x + kc with g as in `reduce`; ka and kc are (N, C), kb is (C,), None = 0."""
        ...

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
        """Gate every position, and every map if s is given.

        Returns:
            y = f(u (s + ss) + shortcut) with u = k x + t; what `apply` tells of it; and the positions' gates, ss = sigmoid(sum_c w x + b),
            (N, 1, H, W) and contiguous, of the vectors' type. k, t and w are (C,), b has one value, s is (N, C), None = 0, and the
            shortcut is as in `apply`.
        """
        ...

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
        """Sum over channels, then over positions, with g as in `reduce` and k, t, ss and u = k x + t as in `apply_positions`.

        Returns:
            A = sum g, B = sum g (x - mu), As = sum g ss, Bs = sum g ss (x - mu), X = sum dq (x - mu), for a projected shortcut
            sum g (r - r_mu), each (N, C); dq = ss (1 - ss) sum_c g u, shaped as ss; and if `keep` is set g itself.
        """
        ...

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
        """Return (ka + ks ss) g + kw dq + kb x + kc with g, ka, kb and kc as in `spread`, ss and dq (N, 1, H, W); ks and kw are (C,)."""
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

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `Kernels`."""
        v = torch.addcmul(over_positions(t), x.to(k.dtype), over_positions(k))
        y = joined(v, r, rk, rt, relu).to(x.dtype)
        return y, y if relu else None

    def kept_like(self, x: Tensor) -> Tensor | None:
        """See `Kernels`."""

    def reduce(
        self, dy: Tensor, kept: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """See `Kernels`."""
        g = masked(dy, kept)
        wide = g.to(mu.dtype)
        by_r = None if r is None or r_mu is None else (wide * (r - over_positions(r_mu))).sum((2, 3))
        own = (g.clone() if g is dy else g) if keep else None
        return wide.sum((2, 3)), (wide * (x - over_positions(mu))).sum((2, 3)), by_r, own

    def spread(self, dy: Tensor, kept: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """See `Kernels`."""
        dx = torch.addcmul(over_positions(kc), masked(dy, kept).to(ka.dtype), over_positions(ka))
        return (dx if kb is None else torch.addcmul(dx, x.to(kb.dtype), over_positions(kb))).to(x.dtype)

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
        wide = x.to(k.dtype)
        ss = torch.sigmoid((wide * over_positions(w)).sum(1, keepdim=True) + b)
        u = torch.addcmul(over_positions(t), wide, over_positions(k))
        v = u * (ss if s is None else over_positions(s) + ss)
        y = joined(v, r, rk, rt, relu).to(x.dtype)
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
        a, b, by_r, own = self.reduce(dy, kept, x, mu, r, r_mu, keep)
        g = masked(dy, kept).to(mu.dtype)
        dss = (g * torch.addcmul(over_positions(t), x.to(k.dtype), over_positions(k))).sum(1, keepdim=True)
        dq = dss * ss * (1 - ss)
        centred, gated = x - over_positions(mu), g * ss
        return a, b, gated.sum((2, 3)), (gated * centred).sum((2, 3)), (dq * centred).sum((2, 3)), by_r, dq, own

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
        dx = masked(dy, kept).to(ka.dtype) * torch.addcmul(over_positions(ka), ss, over_positions(ks))
        dx = torch.addcmul(dx, dq, over_positions(kw)) + over_positions(kc)
        return (dx if kb is None else torch.addcmul(dx, x.to(kb.dtype), over_positions(kb))).to(x.dtype)


class CompiledKernels(TorchKernels):
    """The definition through torch.compile, which makes each pass one loop."""

    def __init__(self) -> None:
        for name in ("moments", "apply", "reduce", "spread", "apply_positions", "reduce_positions", "spread_positions"):
            setattr(self, name, torch.compile(getattr(super(), name), dynamic=False))


def joined(v: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool) -> Tensor:
    """Return f(v + shortcut) with the shortcut as in `Kernels.apply`; v may be overwritten."""
    if r is not None:
        v = v + r if rk is None else torch.addcmul(v, r.to(rk.dtype), over_positions(rk))
    if rt is not None:
        v = v + over_positions(rt)
    return torch.relu_(v) if relu else v


def masked(dy: Tensor, y: Tensor | None) -> Tensor:
    """Return the gradient where y is positive, and 0 elsewhere; all of it if y is None."""
    return dy if y is None else torch.where(y > 0, dy, 0)
