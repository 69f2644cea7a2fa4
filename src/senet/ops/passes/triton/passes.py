"""The passes of a residual tail on a CUDA device."""

from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.maps import layout, precision
from senet.ops.passes.terms import Centred, Coefficients, GradientSums, OutputGradient, Shortcut
from senet.ops.passes.triton import kernels
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.inference_passes import TritonInferenceKernels
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import empty_mask, in_one_format, row
from senet.ops.passes.triton.parts import merge_moments, merge_sums
from senet.ops.passes.triton.spatial_passes import TritonSpatialKernels


class TritonKernels(TritonSpatialKernels, TritonInferenceKernels):
    """The passes as Triton kernels: no atomics, no autotuning, nothing asked of the device, so CUDA graphs can hold them.

    The mask of a ReLU has one bit an element (`mask`); a map is taken in its place. Reads and writes of maps: moments 1;
    apply 2, with a shortcut 3; reduce 2, 1 more for a projected shortcut and for storing g; spread 2, with kb 1 more.

    Args:
        tiling: how maps are cut.
    """

    def __init__(self, tiling: Tiling | None = None) -> None:
        self.tiling = tiling or Tiling()

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `ChannelKernels`."""
        x = x.contiguous(memory_format=layout(x))
        grid = self._grid(x, summed=True)
        spans, length = grid.spans
        mean = x.new_empty(len(x), spans, x.shape[1], dtype=precision(x))
        m2 = torch.empty_like(mean) if centred else None
        launch(kernels.moments, grid.blocks * spans, x, mean, m2, *grid.sizes, spans, length, **grid.tile)
        mean, m2 = merge_moments(mean, m2, grid)
        return mean, torch.zeros_like(mean) if m2 is None else m2

    def apply(self, x: Tensor, scale: Tensor, shift: Tensor, shortcut: Shortcut | None, relu: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChannelKernels`."""
        r, r_scale, r_shift = (None, None, None) if shortcut is None else (shortcut.map, shortcut.scale, shortcut.shift)
        _, x, r = in_one_format(None, x, r)
        mask, y = empty_mask(x) if relu else None, torch.empty_like(x)
        self._affine((x, None, row(mask), *dense(scale, shift), r, *dense(r_scale, r_shift), y, mask), relu)
        return y, mask

    def mask_like(self, x: Tensor) -> Tensor | None:
        """See `ChannelKernels`."""
        return empty_mask(x)

    def rescale_(self, y: Tensor, gates: Tensor, shortcut: Tensor | None, relu: bool) -> None:
        """Overwrite y (N, C, H, W) by f(gates y + shortcut), with gates (N, C) and the shortcut a map or nothing; y is dense."""
        _, _, r = in_one_format(None, y, shortcut)
        gates = gates.to(precision(y))
        self._affine((y, None, 0, *dense(gates, torch.zeros_like(gates)), r, None, None, y, None), relu)

    def reduce(self, gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool) -> GradientSums:
        """See `ChannelKernels`."""
        r, r_mean = (None, None) if shortcut is None else (shortcut.map, shortcut.mean)
        mask, x, dy, r = in_one_format(gradient.relu_mask, branch.map, gradient.dy, r)
        grid = self._grid(x, summed=True)
        spans, length = grid.spans
        sums = x.new_empty(2 + (r is not None), len(x), spans, x.shape[1], dtype=precision(x))
        g = torch.empty_like(x) if store_gradient else None
        given = (dy, mask, row(mask), x, *dense(branch.mean), r, *dense(r_mean))
        launch(kernels.reduce, grid.blocks * spans, *given, g, sums, len(x), *grid.sizes, spans, length, **grid.tile)
        of_g, of_gx, *of_gr = merge_sums(sums)
        return GradientSums(of_g, of_gx, of_gr[0] if of_gr else None, g)

    def spread(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients) -> Tensor:
        """See `ChannelKernels`."""
        by_g, by_x, constant = coefficients.by_g, coefficients.by_x, coefficients.constant
        mask, dy, added = in_one_format(gradient.relu_mask, gradient.dy, None if by_x is None else x)
        dx = torch.empty_like(dy)
        self._affine((dy, mask, row(mask), *dense(by_g, constant), added, *dense(by_x), None, dx, None), False)
        return dx

    def _affine(self, arguments: tuple[Any, ...], relu: bool) -> None:
        """Launch `affine` with its arguments up to the mask."""
        grid = self._grid(arguments[0], summed=False)
        launch(kernels.affine, grid.blocks * grid.tiles, *arguments, *grid.sizes, grid.tiles, RELU=relu, **grid.tile)

    def _grid(self, x: Tensor, *, summed: bool) -> Grid:
        return grid_of(Grid, x, self.tiling, summed=summed)
