"""The passes of a tail that gates positions, on a CUDA device."""

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.triton import spatial
from senet.ops.passes.triton.grid import Grid, PixelGrid, Tiling, dense, grid_of, launch
from senet.ops.passes.triton.mask import alike, empty_mask, row
from senet.ops.passes.triton.parts import merge_sums


class SpatialKernels:
    """The passes that gate positions, as Triton kernels.

    Where a tile has all channels of its positions, they read and write maps as often as `apply`, `reduce` and `spread` do; else the first
    two read x and dy a second time, from the cache if an image is small.
    """

    tiling: Tiling

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
        _, x, r = alike(None, x, r)
        grid = grid_of(PixelGrid, x, self.tiling, summed=False)
        y, mask, ss = torch.empty_like(x), empty_mask(x) if relu else None, _gates(x)
        given = (x, *dense(k, t, w, b, s), r, *dense(rk, rt))
        sizes = (*grid.sizes, grid.tiles)
        launch(spatial.apply_positions, grid.blocks * grid.tiles, *given, y, mask, row(mask), ss, *sizes, RELU=relu, **grid.tile)
        return y, mask, ss

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
        kept, x, dy, r = alike(kept, x, dy, r if r_mu is not None else None)
        grid = grid_of(PixelGrid, x, self.tiling, summed=True)
        spans, length = grid.spans
        sums = x.new_empty(5 + (r is not None), len(x), spans, x.shape[1], dtype=precision(x))
        g, dq = torch.empty_like(x) if keep else None, _gates(x)
        given = (dy, kept, row(kept), x, *dense(mu, k, t, ss), r, *dense(r_mu))
        launch(spatial.reduce_positions, grid.blocks * spans, *given, g, dq, sums, len(x), *grid.sizes, spans, length, **grid.tile)
        of_g, of_gx, of_gated, of_gated_x, of_dq, *by_r = merge_sums(sums)
        return of_g, of_gx, of_gated, of_gated_x, of_dq, by_r[0] if by_r else None, dq, g

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
        kept, dy, x = alike(kept, dy, None if kb is None else x)
        grid, out = grid_of(Grid, dy, self.tiling, summed=False), torch.empty_like(dy)
        given = (dy, kept, row(kept), x, *dense(ka, kb, kc, ks, kw, ss, dq))
        launch(spatial.spread_positions, grid.blocks * grid.tiles, *given, out, *grid.sizes, grid.tiles, **grid.tile)
        return out


def _gates(x: Tensor) -> Tensor:
    """Return an unset vector over positions, (N, 1, H, W), contiguous."""
    n, _, h, w = x.shape
    return x.new_empty(n, 1, h, w, dtype=precision(x))
