"""The passes of a pre-activation tail on a CUDA device."""

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.terms import PairCoefficients, PairGradient, PairMoments, PairSums
from senet.ops.passes.triton import pairs
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import in_one_format
from senet.ops.passes.triton.parts import merge_moments, merge_pair_moments, merge_sums


class TritonPairKernels:
    """The passes over pairs as Triton kernels.

    Reads and writes of maps: pair_moments 2, apply_pair 4; add_pair 3, activate 2; reduce_pair 2, with u 3, with u and dv 4; spread_pair 3,
    with du 4, with dv 1 more. Where the ReLU was open is seen from v, not from a.
    """

    tiling: Tiling

    def pair_moments(self, u: Tensor, r: Tensor) -> PairMoments:
        """See `PairKernels`."""
        _, u, r = in_one_format(None, u, r)
        return PairMoments(*merge_pair_moments(moments_of_spans_of_pair(u, r, self.tiling), grid_of(Grid, u, self.tiling, summed=True)))

    def apply_pair(self, u: Tensor, r: Tensor, gates: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        _, u, r = in_one_format(None, u, r)
        v, a = torch.empty_like(u), torch.empty_like(u)
        launch_apply(self.tiling, (u, r, *dense(gates, scale, shift), v, a))
        return v, a

    def add_pair(self, u: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PairKernels`."""
        _, u, r = in_one_format(None, u, r)
        v, mean, m2 = sum_and_moments_of_spans(u, r, self.tiling)
        means, squares = merge_moments(mean, m2, grid_of(Grid, u, self.tiling, summed=True))
        assert squares is not None
        return v, means, squares

    def activate(self, v: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """See `PairKernels`."""
        _, v = in_one_format(None, v)
        a = torch.empty_like(v)
        launch_apply(self.tiling, (v, None, None, *dense(scale, shift), None, a))
        return a

    def reduce_pair(self, gradient: PairGradient, mean: Tensor, u: Tensor | None) -> PairSums:
        """See `PairKernels`."""
        g, gv, *more = merge_sums(pair_sums_of_spans(gradient, mean, u, self.tiling))
        gu, dvu = (*more, None, None)[:2]
        return PairSums(g, gv, gu, dvu)

    def spread_pair(self, gradient: PairGradient, coefficients: PairCoefficients) -> tuple[Tensor, Tensor]:
        """See `PairKernels`."""
        return spread_over_pair(gradient, coefficients, self.tiling)


def launch_apply(tiling: Tiling, arguments: tuple[Tensor | None, ...]) -> None:
    """Launch `apply_pair` with its arguments up to the last map."""
    assert arguments[0] is not None
    grid = grid_of(Grid, arguments[0], tiling, summed=False)
    launch(pairs.apply_pair, grid.blocks * grid.tiles, *arguments, *grid.sizes, grid.tiles, **grid.tile)


def spread_over_pair(gradient: PairGradient, coefficients: PairCoefficients, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """Return the gradients of shortcut and branch, one map where the branch is not gated."""
    _, v, da, dv = in_one_format(None, gradient.v, gradient.da, gradient.dv)
    grid, dr = grid_of(Grid, v, tiling, summed=False), torch.empty_like(v)
    du = None if coefficients.gates is None else torch.empty_like(v)
    found = dense(gradient.scale, gradient.shift, coefficients.by_v, coefficients.constant)
    given = (da, v, *found, dv, *dense(coefficients.gates, coefficients.squeeze), dr, du)
    launch(pairs.spread_pair, grid.blocks * grid.tiles, *given, *grid.sizes, grid.tiles, **grid.tile)
    return dr, dr if du is None else du


def moments_of_spans_of_pair(u: Tensor, r: Tensor, tiling: Tiling) -> Tensor:
    """Return the moments of two dense maps of one format over each span, (5, N, spans, C)."""
    grid = grid_of(Grid, u, tiling, summed=True)
    spans, length = grid.spans
    moments = torch.empty((5, len(u), spans, u.shape[1]), dtype=precision(u), device=u.device)
    launch(pairs.pair_moments, grid.blocks * spans, u, r, moments, len(u), *grid.sizes, spans, length, **grid.tile)
    return moments


def sum_and_moments_of_spans(u: Tensor, r: Tensor, tiling: Tiling) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of two dense maps of one format, and its means and centred squares over each span, (N, spans, C)."""
    grid = grid_of(Grid, u, tiling, summed=True)
    spans, length = grid.spans
    v, mean = torch.empty_like(u), torch.empty((len(u), spans, u.shape[1]), dtype=precision(u), device=u.device)
    m2 = torch.empty_like(mean)
    launch(pairs.add_pair, grid.blocks * spans, u, r, v, mean, m2, *grid.sizes, spans, length, **grid.tile)
    return v, mean, m2


def pair_sums_of_spans(gradient: PairGradient, mean: Tensor, u: Tensor | None, tiling: Tiling) -> Tensor:
    """Return the sums of `reduce_pair` over each span, (2 to 4, N, spans, C)."""
    _, v, da, dv, u = in_one_format(None, gradient.v, gradient.da, None if u is None else gradient.dv, u)
    grid = grid_of(Grid, v, tiling, summed=True)
    spans, length = grid.spans
    rows = 2 if u is None else 3 if dv is None else 4
    sums = torch.empty((rows, len(v), spans, v.shape[1]), dtype=precision(v), device=v.device)
    given = (da, v, *dense(gradient.scale, gradient.shift, mean), u, dv, sums, len(v))
    launch(pairs.reduce_pair, grid.blocks * spans, *given, *grid.sizes, spans, length, **grid.tile)
    return sums
