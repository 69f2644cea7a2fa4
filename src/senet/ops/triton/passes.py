"""The passes of a residual tail on a CUDA device."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
import triton
from torch import Tensor

from senet.ops.kernels import precision
from senet.ops.tail_function import layout
from senet.ops.triton import kernels

MERGED = 2048
"""How many partial results a program merges."""


@dataclass(frozen=True)
class Tiling:
    """Say how large tiles are and how many programs a reduction is split into.

    Together with the shape it fixes the order of every sum, so results do not depend on the device nor on its load.

    Args:
        channels: contiguous elements of a tile of a channels_last map, at most; powers of two, as all sizes of tiles.
        positions: contiguous elements of a tile of a contiguous map, at most.
        elements: elements of a tile, at most; of float64 half as many.
        mapped: elements of a channels_last tile that is not summed, at most: it needs no registers for sums, and its vectors are loaded
            once a tile.
        programs: a reduction with fewer programs is split along its positions.
    """

    channels: int = 64
    positions: int = 1024
    elements: int = 2048
    mapped: int = 4096
    programs: int = 1024


@dataclass(frozen=True)
class Grid:
    """Lay tiles over maps (N, C, H, W): what kernels are told about a shape."""

    shape: torch.Size
    channels_last: bool
    tiling: Tiling
    elements: int

    @property
    def channels(self) -> int:
        """Return C."""
        return self.shape[1]

    @property
    def positions(self) -> int:
        """Return S = H W."""
        return self.shape[2] * self.shape[3]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Return C, S, and the strides between channels and between positions."""
        c_stride, s_stride = (1, self.channels) if self.channels_last else (self.positions, 1)
        return self.channels, self.positions, c_stride, s_stride

    @cached_property
    def tile(self) -> dict[str, int]:
        """Return the sizes of a tile, the axis over positions, and the warps that share the tile's work."""
        limit = self.tiling.channels if self.channels_last else self.tiling.positions
        inner, outer = (self.channels, self.positions) if self.channels_last else (self.positions, self.channels)
        columns = min(triton.next_power_of_2(inner), limit)
        rows = min(triton.next_power_of_2(outer), max(1, self.elements // columns))
        channels, positions = (columns, rows) if self.channels_last else (rows, columns)
        warps = min(8, max(1, rows * columns // 256))
        return {"CHANNELS": channels, "POSITIONS": positions, "AXIS": 0 if self.channels_last else 1, "num_warps": warps}

    @property
    def blocks(self) -> int:
        """Return how many tiles lie over N images and their channels, at one place."""
        return self.shape[0] * triton.cdiv(self.channels, self.tile["CHANNELS"])

    @property
    def tiles(self) -> int:
        """Return how many tiles lie over the positions of a map."""
        return triton.cdiv(self.positions, self.tile["POSITIONS"])

    @cached_property
    def spans(self) -> tuple[int, int]:
        """Return how many programs share the positions of a map in a reduction, and how many positions each has, a number of tiles."""
        wanted = min(self.tiles, max(1, self.tiling.programs // self.blocks))
        length = triton.cdiv(self.tiles, wanted) * self.tile["POSITIONS"]
        return triton.cdiv(self.positions, length), length


@lru_cache(1024)
def lay(shape: torch.Size, channels_last: bool, tiling: Tiling, elements: int) -> Grid:
    """Return the grid of maps of a shape."""
    return Grid(shape, channels_last, tiling, elements)


class TritonKernels:
    """The passes as Triton kernels: no atomics, no autotuning, nothing asked of the device, so CUDA graphs can hold them.

    Reads and writes of maps: moments 1; apply 2, with a shortcut 3; reduce 2, 3 with y, 1 more for a projected shortcut and for keeping g;
    spread 2, with y and with kb 1 more each.

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
        n, c = x.shape[:2]
        parts = [torch.empty(n, spans, c, dtype=precision(x), device=x.device) for _ in range(1 + centred)]
        mean, m2 = (*parts, None)[:2]
        launch(kernels.moments, grid.blocks * spans, x, mean, m2, *grid.sizes, spans, length, **grid.tile)
        if spans > 1:
            merged = [torch.empty(n, c, dtype=precision(x), device=x.device) for _ in parts]
            _merge(kernels.merge_moments, (mean, m2, *(*merged, None)[:2]), n * c, (c, grid.positions, spans, length), spans)
            parts = merged
        p, *rest = (v.view(n, c) for v in parts)
        return p, rest[0] if rest else torch.zeros_like(p)

    def apply(
        self, x: Tensor, k: Tensor, t: Tensor, r: Tensor | None, rk: Tensor | None, rt: Tensor | None, relu: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `Kernels`."""
        y = self._affine(x, None, k, t, r, rk, rt, relu)
        return y, y if relu else None

    def kept_like(self, x: Tensor) -> Tensor | None:
        """See `Kernels`."""

    def reduce(
        self, dy: Tensor, y: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """See `Kernels`."""
        x, dy, y, r = _alike(x, dy, y, r if r_mu is not None else None)
        grid = self._grid(x, summed=True)
        spans, length = grid.spans
        n, c = x.shape[:2]
        sums = torch.empty(2 + (r is not None), n, spans, c, dtype=precision(x), device=x.device)
        g = torch.empty_like(x) if keep else None
        vectors = (mu.contiguous(), r, None if r_mu is None else r_mu.contiguous())
        launch(kernels.reduce, grid.blocks * spans, dy, y, x, *vectors, g, sums, n, *grid.sizes, spans, length, **grid.tile)
        if spans > 1:
            parts, sums = sums, sums.new_empty(len(sums), n, 1, c)
            _merge(kernels.merge_sums, (parts, sums), sums.numel(), (c, spans), spans)
        a, b, *by_r = sums.view(len(sums), n, c)
        return a, b, by_r[0] if by_r else None, g

    def spread(self, dy: Tensor, y: Tensor | None, x: Tensor, ka: Tensor, kb: Tensor | None, kc: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._affine(dy, y, ka, kc, None if kb is None else x, kb, None, False)

    def _affine(
        self, a: Tensor, y: Tensor | None, ka: Tensor, kc: Tensor, b: Tensor | None, kb: Tensor | None, kd: Tensor | None, relu: bool
    ) -> Tensor:
        a, y, b = _alike(a, y, b)
        vectors = tuple(None if v is None else v.contiguous() for v in (ka, kc, kb, kd))
        grid, out = self._grid(a, summed=False), torch.empty_like(a)
        arguments = (a, y, *vectors[:2], b, *vectors[2:], out, *grid.sizes, grid.tiles)
        launch(kernels.affine, grid.blocks * grid.tiles, *arguments, RELU=relu, **grid.tile)
        return out

    def _grid(self, x: Tensor, *, summed: bool) -> Grid:
        channels_last = layout(x) == torch.channels_last
        elements = self.tiling.mapped if channels_last and not summed else self.tiling.elements
        return lay(x.shape, channels_last, self.tiling, elements * torch.float32.itemsize // precision(x).itemsize)


def launch(kernel: Any, programs: int, *arguments: Any, **sizes: int) -> None:
    """Start a kernel on the device of its first argument; multiplications and additions fuse, said here since Triton's default changes."""
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[(programs,)](*arguments, **sizes, enable_fp_fusion=True)


def _merge(kernel: Any, tensors: tuple[Tensor | None, ...], maps: int, sizes: tuple[int, ...], spans: int) -> None:
    rows = triton.next_power_of_2(spans)
    block = min(triton.next_power_of_2(maps), max(1, MERGED // rows))
    launch(kernel, triton.cdiv(maps, block), *tensors, maps, *sizes, SPANS=rows, BLOCK=block, num_warps=4)


def _alike(first: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Return maps in the memory format of the first; those that have it are not copied."""
    memory_format = layout(first)
    return tuple(None if v is None else v.contiguous(memory_format=memory_format) for v in (first, *others))
