"""Say what an SE tail takes on an H100 in a CUDA graph, by its bytes and its small kernels: `python -m benchmarks.tail_prediction`.

Nothing is run on a device; rates are fitted to what one measured. Batch 256, bfloat16, channels_last, an identity shortcut, forward and
backward.
"""

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from senet.ops.passes.triton.vector_grid import vector_grid

IMAGES = 256
CHANNELS = 64
"""Of a program of a summing pass."""
MAPS = ((256, 56), (512, 28), (1024, 14), (2048, 7))
"""Channels and side of the maps of ResNet-50's stages."""

BANDWIDTH = 3.02e12
"""Bytes a second of a copy (measured on an H100 80GB HBM3, torch 2.11, 2026-11-26)."""

UNITS = {"moments": 1.0, "affine": 3.06 + 3.0, "reduce": 3.06}
"""Pass -> how often it reads or writes a map."""

OVER, PROGRAM, SUMMED = 1.02, 11e-9, 2
"""A pass's time over that of its bytes, seconds that a program of a summing pass adds, and how many passes sum.

Fitted to plain tails on that H100 (a2eda3d, 2026-11-27): 1.448, 0.754, 0.439 and 0.403 ms on `MAPS`. What grows with the programs, one for
64 channels of an image, may as well be another pass's.
"""

LAUNCH = 2.3e-6
"""Seconds of a launch in a graph."""

LATENCY = 1e-6
"""Seconds in which a small kernel waits for its own loads and sums (fitted, see `PRODUCTS`)."""

MULTIPROCESSORS = 132
PRODUCTS = 128 * 1.7e9 / 15
"""Fused multiply-adds a second of a multiprocessor, a fifteenth of its peak.

Fitted to what gates add to tails (a2eda3d): 35, 59, 101 and 272 us on `MAPS`, of which this gives 34, 58, 105 and 240.
"""

VECTOR_BANDWIDTH = 1e11
"""Bytes a second of a multiprocessor from the cache (guessed)."""


@dataclass(frozen=True)
class Prediction:
    """Seconds of a tail: by its bytes alone, of its passes, and of its small kernels."""

    floor: float
    passes: float
    small: float

    @property
    def whole(self) -> float:
        """Return the seconds of all of it."""
        return self.passes + self.small


def predicted(channels: int, side: int) -> Prediction:
    """Return the prediction for maps of so many channels, (256, C, side, side)."""
    unit = IMAGES * channels * side * side * 2 / BANDWIDTH
    floor = sum(UNITS.values()) * unit
    passes = OVER * floor + SUMMED * PROGRAM * IMAGES * channels / CHANNELS + (len(UNITS) + 1) * LAUNCH  # `affine` is launched twice
    hidden = channels // 16
    grid = vector_grid(IMAGES, channels, 1, hidden)
    products = IMAGES * channels * hidden / PRODUCTS
    by_channels, waves = products / (grid.blocks * grid.tiles), max(1.0, grid.programs / MULTIPROCESSORS)
    vector = IMAGES * grid.block * 4 / VECTOR_BANDWIDTH
    layer = grid.blocks * grid.block_images * hidden * 4 / VECTOR_BANDWIDTH
    by_both = products / grid.programs * waves + layer * waves
    statistics, gate_gradient, norm_gradient = 3 * vector + by_channels, 6 * vector + 2 * by_channels, 3 * vector + by_channels
    return Prediction(floor, passes, statistics + gate_gradient + norm_gradient + 2 * by_both + 5 * (LAUNCH + LATENCY))


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    lines = Table(box=None, pad_edge=False)
    for heading in ("map", "floor, ms", "passes", "small kernels", "in all", "of the floor"):
        lines.add_column(heading, justify="right")
    for channels, side in MAPS:
        found = predicted(channels, side)
        times = (found.floor, found.passes, found.small, found.whole)
        lines.add_row(f"C{channels} @ {side}", *(f"{1e3 * v:.2f}" for v in times), f"{found.whole / found.floor:.2f}")
    Console().print(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
