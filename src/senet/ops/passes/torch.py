"""The passes over maps in torch's operations: the definition of every backend, and the same through torch.compile."""

import torch
from torch import Tensor

from senet.ops.passes.maps import over_positions, precision
from senet.ops.passes.terms import (
    Centred,
    Coefficients,
    GateOfPositions,
    GradientSums,
    Normalised,
    OutputGradient,
    PairCoefficients,
    PairGradient,
    PairMoments,
    PairSums,
    PositionCoefficients,
    PositionSums,
    Shortcut,
)


class TorchKernels:
    """The definition: whole maps in at least float32, one operation after the other."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `ChannelKernels`."""
        x = x.to(precision(x))
        p = x.mean((2, 3))
        return p, (x - over_positions(p)).square_().sum((2, 3)) if centred else torch.zeros_like(p)

    def apply(self, x: Tensor, scale: Tensor, shift: Tensor, shortcut: Shortcut | None, relu: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChannelKernels`."""
        v = torch.addcmul(over_positions(shift), x.to(scale.dtype), over_positions(scale))
        y = joined(v, shortcut, relu).to(x.dtype)
        return y, y if relu else None

    def mask_like(self, x: Tensor) -> Tensor | None:
        """See `ChannelKernels`."""

    def reduce(self, gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool) -> GradientSums:
        """See `ChannelKernels`."""
        g = relu_gradient(gradient)
        wide = g.to(branch.mean.dtype)
        gr = None if shortcut is None else (wide * (shortcut.map - over_positions(shortcut.mean))).sum((2, 3))
        stored = (g.clone() if g is gradient.dy else g) if store_gradient else None
        return GradientSums(wide.sum((2, 3)), (wide * (branch.map - over_positions(branch.mean))).sum((2, 3)), gr, stored)

    def spread(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients) -> Tensor:
        """See `ChannelKernels`."""
        by_g, by_x, constant = (coefficients.by_g, coefficients.by_x, coefficients.constant)
        dx = torch.addcmul(over_positions(constant), relu_gradient(gradient).to(by_g.dtype), over_positions(by_g))
        return (dx if by_x is None else torch.addcmul(dx, x.to(by_x.dtype), over_positions(by_x))).to(x.dtype)

    def apply_positions(
        self, branch: Normalised, gate: GateOfPositions, shortcut: Shortcut | None, relu: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """See `SpatialKernels`."""
        x = branch.map
        wide = x.to(branch.scale.dtype)
        q = torch.sigmoid((wide * over_positions(gate.weight)).sum(1, keepdim=True) + gate.bias)
        u = torch.addcmul(over_positions(branch.shift), wide, over_positions(branch.scale))
        v = u * (q if gate.channels is None else over_positions(gate.channels) + q)
        y = joined(v, shortcut, relu).to(x.dtype)
        return y, y if relu else None, q

    def reduce_positions(
        self, gradient: OutputGradient, branch: Normalised, gates: Tensor, shortcut: Centred | None, store_gradient: bool
    ) -> PositionSums:
        """See `SpatialKernels`."""
        x = branch.map
        sums = self.reduce(gradient, Centred(x, branch.mean), shortcut, store_gradient)
        g = relu_gradient(gradient).to(branch.mean.dtype)
        u = torch.addcmul(over_positions(branch.shift), x.to(branch.scale.dtype), over_positions(branch.scale))
        dl = (g * u).sum(1, keepdim=True) * gates * (1 - gates)
        centred, gated = x - over_positions(branch.mean), g * gates
        return PositionSums(
            g=sums.g,
            gx=sums.gx,
            gr=sums.gr,
            gradient=sums.gradient,
            gq=gated.sum((2, 3)),
            gqx=(gated * centred).sum((2, 3)),
            lx=(dl * centred).sum((2, 3)),
            dl=dl,
        )

    def spread_positions(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients, positions: PositionCoefficients) -> Tensor:
        """See `SpatialKernels`."""
        by_g, by_x, constant = (coefficients.by_g, coefficients.by_x, coefficients.constant)
        g = relu_gradient(gradient).to(by_g.dtype)
        dx = g * torch.addcmul(over_positions(by_g), positions.gates, over_positions(positions.by_gq))
        dx = torch.addcmul(dx, positions.dl, over_positions(positions.by_dl)) + over_positions(constant)
        return (dx if by_x is None else torch.addcmul(dx, x.to(by_x.dtype), over_positions(by_x))).to(x.dtype)


class TorchPairKernels:
    """The definition of the passes over pairs: whole maps in at least float32, one operation after the other."""

    def pair_moments(self, u: Tensor, r: Tensor) -> PairMoments:
        """See `PairKernels`."""
        u, r = u.to(precision(u)), r.to(precision(r))
        u_mean, r_mean = u.mean((2, 3)), r.mean((2, 3))
        u, r = u - over_positions(u_mean), r - over_positions(r_mean)
        return PairMoments(u_mean, r_mean, (u * u).sum((2, 3)), (u * r).sum((2, 3)), (r * r).sum((2, 3)))

    def apply_pair(self, u: Tensor, r: Tensor, gates: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        wide_u, wide_r = u.to(scale.dtype), r.to(scale.dtype)
        v = wide_u + wide_r if gates is None else torch.addcmul(wide_r, wide_u, over_positions(gates))
        return v.to(u.dtype), torch.relu_(torch.addcmul(over_positions(shift), v, over_positions(scale))).to(u.dtype)

    def add_pair(self, u: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PairKernels`."""
        v = u + r
        return v, *TorchKernels().moments(v, True)

    def activate(self, v: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """See `PairKernels`."""
        return torch.relu_(torch.addcmul(over_positions(shift), v.to(scale.dtype), over_positions(scale))).to(v.dtype)

    def reduce_pair(self, gradient: PairGradient, mean: Tensor, u: Tensor | None) -> PairSums:
        """See `PairKernels`."""
        g = positive(gradient.da, gradient.a).to(mean.dtype)
        of_g, of_gv = g.sum((2, 3)), (g * (gradient.v - over_positions(mean))).sum((2, 3))
        if u is None:
            return PairSums(of_g, of_gv, None, None)
        u = u.to(mean.dtype)
        return PairSums(of_g, of_gv, (g * u).sum((2, 3)), None if gradient.dv is None else (gradient.dv * u).sum((2, 3)))

    def spread_pair(self, gradient: PairGradient, coefficients: PairCoefficients) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        da, by_g, by_v = gradient.da, coefficients.by_g, coefficients.by_v
        dr = positive(da, gradient.a).to(by_g.dtype) * over_positions(by_g)
        dr = dr if coefficients.constant is None else dr + over_positions(coefficients.constant)
        dr = dr if by_v is None else torch.addcmul(dr, gradient.v.to(by_v.dtype), over_positions(by_v))
        dr = dr if gradient.dv is None else dr + gradient.dv
        of_r = dr.to(da.dtype)
        if coefficients.gates is None or coefficients.squeeze is None:
            return of_r, of_r
        return of_r, torch.addcmul(over_positions(coefficients.squeeze), dr, over_positions(coefficients.gates)).to(da.dtype)


class CompiledKernels(TorchKernels):
    """The definition through torch.compile, which makes each pass one loop."""

    def __init__(self) -> None:
        for name in ("moments", "apply", "reduce", "spread", "apply_positions", "reduce_positions", "spread_positions"):
            setattr(self, name, torch.compile(getattr(super(), name), dynamic=False))


def joined(v: Tensor, shortcut: Shortcut | None, relu: bool) -> Tensor:
    """Return f(v + shortcut), f a ReLU or the identity; v may be overwritten."""
    if shortcut is not None:
        r, scale = shortcut.map, shortcut.scale
        v = v + r if scale is None else torch.addcmul(v, r.to(scale.dtype), over_positions(scale))
        if shortcut.shift is not None:
            v = v + over_positions(shortcut.shift)
    return torch.relu_(v) if relu else v


def relu_gradient(gradient: OutputGradient) -> Tensor:
    """Return g, in a new map unless there is no ReLU."""
    return gradient.dy if gradient.relu_mask is None else positive(gradient.dy, gradient.relu_mask)


def positive(dy: Tensor, y: Tensor) -> Tensor:
    """Return the gradient where y is positive, and 0 elsewhere."""
    return torch.where(y > 0, dy, 0)
