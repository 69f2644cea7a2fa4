"""The passes of a residual tail on a CUDA device."""

import torch
from torch import Tensor

from senet.ops.passes.maps import layout, precision
from senet.ops.passes.triton import kernels
from senet.ops.passes.triton.grid import Grid, Tiling, dense, grid_of, launch
from senet.ops.passes.triton.mask import alike, empty_mask, row
from senet.ops.passes.triton.parts import merge_moments, merge_sums
from senet.ops.passes.triton.spatial_passes import SpatialKernels


class TritonKernels(SpatialKernels):
    """The passes as Triton kernels: no atomics, no autotuning, nothing asked of the device, so CUDA graphs can hold them.

    Of a map behind a ReLU a mask of one bit an element is kept (`mask`); a map is taken in its place. Reads and writes of maps: moments 1;
    apply 2, with a shortcut 3; reduce 2, 1 more for a projected shortcut and for keeping g; spread 2, with kb 1 more.

    Args:
        tiling: how maps are cut.
    """

    def __init__(self, tiling: Tiling | None = None) -> None:
        self.tiling = tiling or Tiling()

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        x = x.contiguous(memory_format=layout(x))
        grid = self._grid(x, summed=True)
        spans, length = grid.spans
        mean = x.new_empty(len(x), spans, x.shape[1], dtype=precision(x))
        m2 = torch.empty_like(mean) if centred else None
        launch(kernels.moments, grid.blocks * spans, x, mean, m2, *grid.sizes, spans, length, **grid.tile)
        mean, m2 = merge_moments(mean, m2, grid)
        return mean, torch.zeros_like(mean) if m2 is None else m2

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `Kernels`."""
        _, x, r = alike(None, x, r)
        mask = empty_mask(x) if relu else None
        return self._affine(x, None, k, t, r, rk, rt, mask), mask

    def rescale_(self, y: Tensor, s: Tensor, shortcut: Tensor | None, relu: bool) -> None:
        """Overwrite y (N, C, H, W) by f(s y + shortcut), with s (N, C) and the shortcut a map or nothing; y is dense."""
        _, _, r = alike(None, y, shortcut)
        s = s.to(precision(y))
        grid = self._grid(y, summed=False)
        given = (y, None, 0, *dense(s, torch.zeros_like(s)), r, None, None, y, None)
        launch(kernels.affine, grid.blocks * grid.tiles, *given, *grid.sizes, grid.tiles, RELU=relu, **grid.tile)

    def kept_like(self, x: Tensor) -> Tensor | None:
        """See `Kernels`."""
        return empty_mask(x)

    def reduce(
        self, dy: Tensor, kept: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """See `Kernels`."""
        kept, x, dy, r = alike(kept, x, dy, r if r_mu is not None else None)
        grid = self._grid(x, summed=True)
        spans, length = grid.spans
        sums = x.new_empty(2 + (r is not None), len(x), spans, x.shape[1], dtype=precision(x))
        g = torch.empty_like(x) if keep else None
        given = (dy, kept, row(kept), x, *dense(mu), r, *dense(r_mu))
        launch(kernels.reduce, grid.blocks * spans, *given, g, sums, len(x), *grid.sizes, spans, length, **grid.tile)
        a, b, *by_r = merge_sums(sums)
        return a, b, by_r[0] if by_r else None, g

    def spread(self, dy: Tensor, kept: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """See `Kernels`."""
        kept, dy, b = alike(kept, dy, None if kb is None else x)
        return self._affine(dy, kept, ka, kc, b, kb, None, None)

    def _affine(
        self,
        a: Tensor,
        kept: Tensor | None,
        ka: Tensor,
        kc: Tensor,
        b: Tensor | None,
        kb: Tensor | None,
        kd: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        grid, out = self._grid(a, summed=False), torch.empty_like(a)
        given = (a, kept, row(kept if mask is None else mask), *dense(ka, kc), b, *dense(kb, kd))
        launch(kernels.affine, grid.blocks * grid.tiles, *given, out, mask, *grid.sizes, grid.tiles, RELU=mask is not None, **grid.tile)
        return out

    def _grid(self, x: Tensor, *, summed: bool) -> Grid:
        return grid_of(Grid, x, self.tiling, summed=summed)
