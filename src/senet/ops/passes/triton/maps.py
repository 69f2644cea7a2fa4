"""Launches of the passes over maps as the kernels leave their results: sums for each span of positions, not yet put together."""

from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.terms import Centred, OutputGradient
from senet.ops.passes.triton import kernels
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.launch import dense, launch
from senet.ops.passes.triton.mask import in_one_format, row

Moments = tuple[Tensor, Tensor | None]
"""Means, and centred squares if they were asked for, of each map over each span, (N, spans, C)."""


def moments_of_spans(grid: Grid, x: Tensor, centred: bool, r: Tensor | None = None, r_centred: bool = False) -> tuple[Moments, Any]:
    """Read one or two dense maps of a shape and format, in one launch; return the moments of each, None of the second if there is none."""
    spans, length = grid.spans
    shape = len(x), spans, x.shape[1]

    def made(there: bool) -> Any:
        return torch.empty(shape, dtype=precision(x), device=x.device) if there else None

    found, of_r = (made(True), made(centred)), (made(r is not None), made(r_centred))
    programs = grid.blocks * spans * (1 if r is None else 2)
    launch(kernels.moments, programs, x, *found, r, *of_r, *grid.sizes, spans, length, **grid.tile)
    return found, of_r if r is not None else None


def sums_of_spans(
    gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool, tiling: Tiling
) -> tuple[Tensor, Tensor | None]:
    """Return the sums of `reduce` over each span, (2 or 3, N, spans, C), and g itself if it is asked for."""
    r, r_mean = (None, None) if shortcut is None else (shortcut.map, shortcut.mean)
    mask, x, dy, r = in_one_format(gradient.relu_mask, branch.map, gradient.dy, r)
    grid = grid_of(Grid, x, tiling, summed=True)
    spans, length = grid.spans
    shape = 2 + (r is not None), len(x), spans, x.shape[1]
    sums = torch.empty(shape, dtype=precision(x), device=x.device)
    g = torch.empty_like(x) if store_gradient else None
    given = (dy, mask, row(mask), x, *dense(branch.mean), r, *dense(r_mean))
    launch(kernels.reduce, grid.blocks * spans, *given, g, sums, len(x), *grid.sizes, spans, length, **grid.tile)
    return sums, g


def launch_affine(tiling: Tiling, arguments: tuple[Any, ...], relu: bool) -> None:
    """Launch the kernel with its arguments up to the mask."""
    grid = grid_of(Grid, arguments[0], tiling, summed=False)
    launch(kernels.affine, grid.blocks * grid.tiles, *arguments, *grid.sizes, grid.tiles, RELU=relu, **grid.tile)
