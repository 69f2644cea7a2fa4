"""How maps are cut to tiles."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import torch
import triton
from torch import Tensor

from senet.ops.passes.maps import layout, precision


@dataclass(frozen=True, eq=False)  # equal to itself alone, which costs a look-up less than to compare
class Tiling:
    """Sizes of tiles, and how many programs a reduction is split into.

    Together with the shape it fixes the order of every sum, so results do not depend on the device nor on its load.

    Args:
        channels: contiguous elements of a tile of a channels_last map, at most; powers of two, as all sizes of tiles.
        positions: contiguous elements of a tile of a contiguous map, at most.
        elements: elements of a tile, at most; of float64 half as many.
        mapped: elements of a channels_last tile that is not summed, at most: it needs no registers for sums, and its vectors are loaded
            once a tile.
        programs: a reduction with fewer programs is split along its positions.
        whole: channels of a channels_last map that a tile has where a program needs all channels of its positions, at most.
    """

    channels: int = 64
    positions: int = 1024
    elements: int = 2048
    mapped: int = 4096
    programs: int = 1024
    whole: int = 2048


BYTE = 8
"""Contiguous elements of a tile, at least: masks are read and written by the byte."""


def cdiv(length: int, part: int) -> int:
    """Return how many parts cover a length; `triton.cdiv` costs a launch's time on the host."""
    return -(-length // part)


@dataclass(frozen=True)
class Grid:
    """Tiles over maps (N, C, H, W): what kernels are told about a shape."""

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

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """Return C, S, and the strides between channels and between positions."""
        c_stride, s_stride = (1, self.channels) if self.channels_last else (self.positions, 1)
        return self.channels, self.positions, c_stride, s_stride

    @cached_property
    def columns(self) -> int:
        """Return how long a tile is on the contiguous axis."""
        length, limit = (self.channels, self.tiling.channels) if self.channels_last else (self.positions, self.tiling.positions)
        return max(BYTE, min(triton.next_power_of_2(length), limit))

    @cached_property
    def tile(self) -> dict[str, int]:
        """Return the sizes of a tile, the axis over positions, and the warps that share the tile's work."""
        rows = triton.next_power_of_2(self.positions if self.channels_last else self.channels)
        rows = min(rows, max(1, self.elements // self.columns))
        channels, positions = (self.columns, rows) if self.channels_last else (rows, self.columns)
        warps = min(8, max(1, rows * self.columns // 256))
        return {"CHANNELS": channels, "POSITIONS": positions, "AXIS": 0 if self.channels_last else 1, "num_warps": warps}

    @cached_property
    def blocks(self) -> int:
        """Return how many tiles lie over N images and their channels, at one place."""
        return self.shape[0] * cdiv(self.channels, self.tile["CHANNELS"])

    @cached_property
    def tiles(self) -> int:
        """Return how many tiles lie over the positions of a map."""
        return cdiv(self.positions, self.tile["POSITIONS"])

    @cached_property
    def spans(self) -> tuple[int, int]:
        """Return how many programs share the positions of a map in a reduction, and how many positions each has, a number of tiles."""
        wanted = min(self.tiles, max(1, self.tiling.programs // self.blocks))
        length = cdiv(self.tiles, wanted) * self.tile["POSITIONS"]
        return cdiv(self.positions, length), length


class PixelGrid(Grid):
    """Tiles of which a program has all channels of its positions, in one tile where they fit."""

    @cached_property
    def columns(self) -> int:
        """Return how long a tile is on the contiguous axis; positions are cut to make many programs, since channels are not."""
        if self.channels_last:
            length = max(BYTE, triton.next_power_of_2(self.channels))
            return length if length <= self.tiling.whole else self.tiling.channels
        columns = super().columns
        while columns > self.tiling.channels and self.shape[0] * cdiv(self.positions, columns) < self.tiling.programs:
            columns //= 2
        return columns

    @cached_property
    def tile(self) -> dict[str, int]:
        """Return what `Grid` does, and whether a tile has all channels."""
        tile = super().tile
        return {**tile, "WHOLE": tile["CHANNELS"] >= self.channels}

    @cached_property
    def blocks(self) -> int:
        """Return how many programs are at one place: one an image."""
        return self.shape[0]

    @cached_property
    def spans(self) -> tuple[int, int]:
        """Return the programs that share the positions of an image, and how many positions each has: a tile's if it lacks channels."""
        return super().spans if self.tile["WHOLE"] else (self.tiles, self.tile["POSITIONS"])


Kind = TypeVar("Kind", bound=Grid)


def grid_of(kind: type[Kind], x: Tensor, tiling: Tiling, *, summed: bool) -> Kind:
    """Return how maps like x are cut, for sums or for another map."""
    channels_last = layout(x) == torch.channels_last
    elements = tiling.mapped if channels_last and not summed else tiling.elements
    return _make_grid(kind, x.shape, channels_last, tiling, elements * torch.float32.itemsize // precision(x).itemsize)


@lru_cache(1024)
def _make_grid(kind: type[Kind], shape: torch.Size, channels_last: bool, tiling: Tiling, elements: int) -> Kind:
    return kind(shape, channels_last, tiling, elements)
