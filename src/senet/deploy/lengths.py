"""Which axes of a network's input may have any length, tried on the network itself before it is exported."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet.errors import first_line_of

AXES: dict[int, tuple[str, ...]] = {2: (), 3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}
"""Axes of an input (N, C, ...) by their number -> the names of those behind the channels."""

GROWTHS = ((5, 17, 40), (32, 32, 64))
"""Elements by which a larger input is larger in depth, height and width: odd ones, then multiples of what networks halve."""


@dataclass(frozen=True)
class Lengths:
    """Lengths that a network takes beside those of an example.

    Args:
        single: one image alone; None if the network refuses it.
        larger: three images of another size; None if the network refuses that.
        reason: why it takes no other size.
    """

    single: Tensor | None = None
    larger: Tensor | None = None
    reason: str = ""

    @property
    def free(self) -> tuple[int, ...]:
        """The axes of the input that may have any length as far as the network is concerned."""
        sizes = range(2, self.larger.ndim) if self.larger is not None else ()
        return (*((0,) if self.single is not None else ()), *sizes)


def find_lengths(network: nn.Module, example: Tensor, *, fixed_size: bool = False) -> Lengths:
    """Run a network on one image, and on three larger ones unless its size is to be fixed.

    Args:
        network: what is exported, in evaluation mode.
        example: an input that it takes, (N, C, ...).
        fixed_size: try no other size.
    """
    single = example[:1] if not _refusal(network, example[:1]) else None
    if single is None or fixed_size or example.ndim == 2:
        return Lengths(single)
    reason = ""
    for larger in _larger(example):
        refusal = _refusal(network, larger)
        if not refusal:
            return Lengths(single, larger)
        reason = reason or f"the network refuses {'x'.join(map(str, larger.shape))}: {refusal}"
    return Lengths(single, None, reason)


def _larger(example: Tensor) -> Iterator[Tensor]:
    sizes = example.shape[2:]
    for growth in GROWTHS:
        shape = (3, example.shape[1], *(length + more for length, more in zip(sizes, growth[-len(sizes) :], strict=True)))
        if example.is_floating_point():
            generator = torch.Generator().manual_seed(1)
            yield torch.randn(shape, generator=generator).to(example)
        else:  # whole numbers mean something, such as places in a table
            axes = torch.meshgrid(*(torch.arange(new) % old for new, old in zip(shape, example.shape, strict=True)), indexing="ij")
            yield example[axes]


def _refusal(network: nn.Module, images: Tensor) -> str:
    """Return the first line of what a network raises for some images; empty if it takes them."""
    try:
        with torch.no_grad():
            network(images)
    except Exception as error:  # a network may refuse in any way
        return first_line_of(error)
    return ""
