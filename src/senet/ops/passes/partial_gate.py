"""A gate of which the sums, and the first layer's share of each, are known: what two passes of inference hand on to each other."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

MOST_BLOCKS, MOST_PARTS = 32, 64
"""Blocks of channels, and parts, of an image at most: whoever needs the hidden units adds all parts up."""
FEWEST_PARTS = 1024
"""Parts of all images together from which no more are made: enough to fill the largest devices, each with its own reads of W1."""


class Division(NamedTuple):
    """Parts of an image: how many channels each has, and by how many the positions are shared; blocks of channels follow each other.

    Plain numbers that come from comparisons alone, so that a compiler can trace them for sizes that it does not know.
    """

    channels: int
    spans: int

    def parts(self, channels: int) -> int:
        """Return how many parts an image of so many channels has."""
        return -(-channels // self.channels) * self.spans


def division_of(images: int, channels: int, positions: int) -> Division:
    """Return how maps (N, C, S) are cut to parts."""
    width = 64
    while width > 16 and images * -(-channels // width) < FEWEST_PARTS // 4 and -(-channels // (width // 2)) <= MOST_BLOCKS:
        width //= 2
    while -(-channels // width) > MOST_BLOCKS:
        width *= 2
    blocks, spans = -(-channels // width), 1
    while blocks * spans * 2 <= MOST_PARTS and images * blocks * spans < FEWEST_PARTS and positions >= 64 * spans:
        spans *= 2
    return Division(width, spans)


@dataclass(frozen=True)
class PartialGate:
    """Gate s = gain gate(W2 relu(sum of parts + b1) + b2), (N, C).

    Args:
        parts: what each part of an image adds to the hidden units, (N, P, R), at least float32.
        b1: (R,) or None.
        w2: (C, R).
        b2: (C,) or None.
        name: of the non-linearity, see `senet.ops.reference.GATE`.
        gain: constant factor behind it.
    """

    parts: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None
    name: str
    gain: float = 1.0
