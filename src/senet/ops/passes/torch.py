"""The passes over maps in torch's operations: the definition of every backend, and the same through torch.compile."""

import torch
from torch import Tensor

from senet.ops.passes.maps import over_positions, precision


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
