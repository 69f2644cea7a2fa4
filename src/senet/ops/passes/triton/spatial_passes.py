"""The passes of a tail that gates positions, on a CUDA device."""

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.terms import (
    Centred,
    Coefficients,
    GateOfPositions,
    Normalised,
    OutputGradient,
    PositionCoefficients,
    PositionSums,
    Shortcut,
)
from senet.ops.passes.triton import spatial
from senet.ops.passes.triton.grid import Grid, PixelGrid, Tiling, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import empty_mask, in_one_format, row
from senet.ops.passes.triton.parts import merge_sums


class TritonSpatialKernels:
    """The passes that gate positions, as Triton kernels.

    Where a tile has all channels of its positions, they read and write maps as often as `apply`, `reduce` and `spread` do; else the first
    two read x and dy a second time, from the cache if an image is small.
    """

    tiling: Tiling

    def apply_positions(
        self, branch: Normalised, gate: GateOfPositions, shortcut: Shortcut | None, relu: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """See `SpatialKernels`."""
        r, r_scale, r_shift = (None, None, None) if shortcut is None else (shortcut.map, shortcut.scale, shortcut.shift)
        _, x, r = in_one_format(None, branch.map, r)
        grid = grid_of(PixelGrid, x, self.tiling, summed=False)
        y, mask, q = torch.empty_like(x), empty_mask(x) if relu else None, _gates(x)
        vectors = dense(branch.scale, branch.shift, gate.weight, gate.bias, gate.channels)
        given = (x, *vectors, r, *dense(r_scale, r_shift), y, mask, row(mask), q)
        launch(spatial.apply_positions, grid.blocks * grid.tiles, *given, *grid.sizes, grid.tiles, RELU=relu, **grid.tile)
        return y, mask, q

    def reduce_positions(
        self, gradient: OutputGradient, branch: Normalised, gates: Tensor, shortcut: Centred | None, store_gradient: bool
    ) -> PositionSums:
        """See `SpatialKernels`."""
        r, r_mean = (None, None) if shortcut is None else (shortcut.map, shortcut.mean)
        mask, x, dy, r = in_one_format(gradient.relu_mask, branch.map, gradient.dy, r)
        grid = grid_of(PixelGrid, x, self.tiling, summed=True)
        spans, length = grid.spans
        sums = x.new_empty(5 + (r is not None), len(x), spans, x.shape[1], dtype=precision(x))
        g, dl = torch.empty_like(x) if store_gradient else None, _gates(x)
        vectors = dense(branch.mean, branch.scale, branch.shift, gates)
        given = (dy, mask, row(mask), x, *vectors, r, *dense(r_mean), g, dl, sums, len(x))
        launch(spatial.reduce_positions, grid.blocks * spans, *given, *grid.sizes, spans, length, **grid.tile)
        of_g, of_gx, of_gq, of_gqx, of_lx, *of_gr = merge_sums(sums)
        return PositionSums(of_g, of_gx, of_gr[0] if of_gr else None, g, of_gq, of_gqx, of_lx, dl)

    def spread_positions(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients, positions: PositionCoefficients) -> Tensor:
        """See `SpatialKernels`."""
        by_g, by_x, constant = coefficients.by_g, coefficients.by_x, coefficients.constant
        mask, dy, added = in_one_format(gradient.relu_mask, gradient.dy, None if by_x is None else x)
        grid, dx = grid_of(Grid, dy, self.tiling, summed=False), torch.empty_like(dy)
        vectors = dense(by_g, by_x, constant, positions.by_gq, positions.by_dl, positions.gates, positions.dl)
        given = (dy, mask, row(mask), added, *vectors, dx)
        launch(spatial.spread_positions, grid.blocks * grid.tiles, *given, *grid.sizes, grid.tiles, **grid.tile)
        return dx


def _gates(x: Tensor) -> Tensor:
    """Return an unset vector over positions, (N, 1, H, W), contiguous."""
    n, _, h, w = x.shape
    return x.new_empty(n, 1, h, w, dtype=precision(x))
