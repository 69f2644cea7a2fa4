"""Predict what an SE tail takes on an H100 in a CUDA graph, from its bytes and its small kernels: `python -m benchmarks.tail_prediction`.

Nothing is run on a device. Batch 256, bfloat16, channels_last, an identity shortcut, forward and backward.
"""

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from senet.ops.passes.triton.vector_grid import vector_grid

IMAGES = 256
MAPS = ((256, 56), (512, 28), (1024, 14), (2048, 7))
"""Channels and side of the maps of ResNet-50's stages."""

BANDWIDTH = 3.02e12
"""Bytes a second of a copy (measured on an H100 80GB HBM3, torch 2.11, 2026-11-26)."""

UNITS = {"moments": (1.0, 1.3), "affine": (3.06 + 3.0, 1.04), "reduce": (3.06, 1.22)}
"""Pass -> how often it reads or writes a map, and its time over that of its bytes: measured but for `moments`.

That was measured with one tile on its way at a time, 2.0, and is guessed with three.
"""

LAUNCH = 2.3e-6
"""Seconds of a launch in a graph."""

LATENCY = 4e-6
"""Seconds in which a small kernel waits for its own loads and sums (guessed)."""

MULTIPROCESSORS = 132
PRODUCTS = 128 * 1.7e9 / 3
"""Fused multiply-adds a second of a multiprocessor: a third of its peak (guessed)."""

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
    units = {name: count * unit for name, (count, _) in UNITS.items()}
    passes = sum(units[name] * factor + LAUNCH for name, (_, factor) in UNITS.items()) + LAUNCH  # `affine` is launched twice
    hidden = channels // 16
    grid = vector_grid(IMAGES, channels, 1, hidden)
    products = IMAGES * channels * hidden / PRODUCTS
    by_channels, waves = products / (grid.blocks * grid.tiles), max(1.0, grid.programs / MULTIPROCESSORS)
    vector = IMAGES * grid.block * 4 / VECTOR_BANDWIDTH
    layer = grid.blocks * grid.block_images * hidden * 4 / VECTOR_BANDWIDTH
    by_both = products / grid.programs * waves + layer * waves
    statistics, gate_gradient, norm_gradient = 3 * vector + by_channels, 6 * vector + 2 * by_channels, 3 * vector + by_channels
    return Prediction(sum(units.values()), passes, statistics + gate_gradient + norm_gradient + 2 * by_both + 5 * (LAUNCH + LATENCY))


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
