"""How the kernels of vectors cut images, channels and hidden units."""

from dataclasses import dataclass
from functools import lru_cache

import triton

MOST_HIDDEN = 1024
"""Hidden units that the kernels take; with more, matrix products of their own are faster."""
MOST_CHANNELS = 4096
"""Channels that the kernels take; with more, tiles of a matrix product need too many registers."""
LARGEST = 2**31
"""Values of a vector or of its partial results below which offsets of 32 bits tell them apart."""
BLOCKS = 32
"""Blocks of channels, at most: what each adds to the hidden layer is stored, and read again by every block of images and channels."""
SMALLEST = 16
"""Rows and columns of a matrix product on tensor cores, at least; smaller ones are filled up with zeros."""
SUMS_OF_A_MAP = 5
"""Sums of a map, at most; it has several spans only where images and channels are few."""
UNSTAGED = 1
"""Tiles on their way in kernels that sum over the blocks of channels: two take more shared memory than most devices have."""
WARPS = 4
"""Warps of a program: on an H100 gates of 2,048 channels took 1.9 times as long with 8, and 2.3 times with 16."""
PARTS = 4096
"""Partial results that a program has at a time."""


@dataclass(frozen=True)
class VectorGrid:
    """Sizes of tiles, and numbers of them; out of the shape alone, and with it they fix the order of every sum.

    Args:
        block: channels of a program that goes over the images.
        blocks: of these.
        all_blocks: power of two above it.
        spans: power of two above the number of spans of a map.
        images: images of a tile with all their spans.
        parts: rows of a tile of parts of which images and spans are not told apart.
        rows: images of a tile of a matrix product.
        hidden: hidden units of a program or tile.
        tiles: of these, at least 1.
        block_images: images of a program that has blocks of both.
        columns: its channels.
        summed: hidden units that it sums over the blocks at a time.
        programs: of such.
    """

    block: int
    blocks: int
    all_blocks: int
    spans: int
    images: int
    parts: int
    rows: int
    hidden: int
    tiles: int
    block_images: int
    columns: int
    summed: int
    programs: int


def is_taken(images: int, channels: int, width: int) -> bool:
    """Return whether the kernels take vectors of N images and C channels, with hidden units (0 = no gate)."""
    if channels > MOST_CHANNELS or width > MOST_HIDDEN:
        return False
    return images * max(SUMS_OF_A_MAP * channels, BLOCKS * width) < LARGEST


@lru_cache(1024)
def vector_grid(images: int, channels: int, spans: int, width: int) -> VectorGrid:
    """Return how N images, C channels, the spans of a map and the hidden units (0 = no gate) are cut."""
    block = max(SMALLEST, triton.next_power_of_2(triton.cdiv(channels, BLOCKS)))
    blocks = triton.cdiv(channels, block)
    of_spans = triton.next_power_of_2(spans)
    parts = max(1, PARTS // block)
    hidden = min(32, max(SMALLEST, triton.next_power_of_2(max(1, width))))
    columns = min(128, max(SMALLEST, triton.next_power_of_2(channels)))
    return VectorGrid(
        block=block,
        blocks=blocks,
        all_blocks=triton.next_power_of_2(blocks),
        spans=of_spans,
        images=max(1, min(parts // of_spans, triton.next_power_of_2(images))),
        parts=min(parts, triton.next_power_of_2(images * spans)),
        rows=min(64, max(SMALLEST, PARTS // (2 * block)), max(SMALLEST, triton.next_power_of_2(images))),
        hidden=hidden,
        tiles=max(1, triton.cdiv(width, hidden)),
        block_images=SMALLEST,
        columns=columns,
        summed=max(SMALLEST, min(hidden, PARTS * 4 // (SMALLEST * triton.next_power_of_2(blocks)))),
        programs=triton.cdiv(images, SMALLEST) * triton.cdiv(channels, columns),
    )
