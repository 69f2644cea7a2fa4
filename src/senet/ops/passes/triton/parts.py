"""Partial results of the programs that share a map, (N, spans, C), put together in a fixed order."""

from typing import Any

import torch
import triton
from torch import Tensor

from senet.ops.passes.triton import kernels
from senet.ops.passes.triton.grid import Grid, cdiv
from senet.ops.passes.triton.launch import launch

MERGED = 2048
"""How many partial results a program merges."""


def merge_moments(mean: Tensor, m2: Tensor | None, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """Return means and centred squares (N, C) of whole maps."""
    n, spans, c = mean.shape
    if spans > 1:
        parts = mean, m2
        mean, m2 = (None if v is None else v.new_empty(n, 1, c) for v in parts)  # pyright: ignore[reportAssignmentType]
        _launch(kernels.merge_moments, (*parts, mean, m2), n * c, (c, grid.positions, *grid.spans), spans)
    return mean.view(n, c), None if m2 is None else m2.view(n, c)


def merge_pair_moments(moments: Tensor, grid: Grid) -> tuple[Tensor, ...]:
    """Return means of u and r and centred sums of u u, u r and r r, (N, C), of such of spans, (5, N, spans, C); exact in two levels."""
    spans, length = grid.spans
    if spans == 1:
        return moments[:, :, 0].unbind()
    first = torch.arange(spans, device=moments.device) * length
    counts = (grid.positions - first).clamp_max(length).to(moments.dtype)[:, None]
    near = moments[:2, :, :1]
    means = near + ((moments[:2] - near) * counts).sum(2, keepdim=True) / grid.positions
    u, r = (moments[:2] - means).unbind()
    squares = moments[2:] + torch.stack((u * u, u * r, r * r)) * counts
    return (*means[:, :, 0].unbind(), *squares.sum(2).unbind())


def merge_sums(sums: Tensor) -> tuple[Tensor, ...]:
    """Add K partial sums (K, N, spans, C); return K of (N, C)."""
    k, n, spans, c = sums.shape
    if spans > 1:
        parts, sums = sums, sums.new_empty(k, n, 1, c)
        _launch(kernels.merge_sums, (parts, sums), sums.numel(), (c, spans), spans)
    return sums.view(k, n, c).unbind()


def _launch(kernel: Any, tensors: tuple[Tensor | None, ...], maps: int, sizes: tuple[int, ...], spans: int) -> None:
    rows = triton.next_power_of_2(spans)
    block = min(triton.next_power_of_2(maps), max(1, MERGED // rows))
    launch(kernel, cdiv(maps, block), *tensors, maps, *sizes, SPANS=rows, BLOCK=block, num_warps=4)
