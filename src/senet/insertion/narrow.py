"""Bottlenecks that are so narrow that a block may never learn."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from senet.spec import BlockSpec, hidden_width, known_options

if TYPE_CHECKING:
    from senet.insertion.plan import Site

NARROW = 4
"""Hidden units below which a plan warns: each is shut for all images with about even chance, so that four rarely are at once."""


def bottleneck(block: BlockSpec, channels: int) -> int | None:
    """Return the width between the two FCs of a block for a map with so many channels; None if its kind has no such width."""
    options = known_options(block.kind) or {}
    if "hidden" in options and (hidden := block.options.get("hidden")) is not None:
        return hidden if isinstance(hidden, int) else None
    ratio = block.options.get("reduction", options["reduction"].default) if "reduction" in options else None
    return hidden_width(channels, ratio) if isinstance(ratio, int) else None


def narrow_bottlenecks(sites: Iterable["Site"]) -> Mapping[str, list[str]]:
    """Return what to say of blocks whose hidden units may all be shut from the start -> the paths of their sites.

    The gradient of both FCs passes through the ReLU between them. Where it is 0 for every image, only the last bias learns.
    """
    warned: dict[str, list[str]] = {}
    for site in sites:
        width = bottleneck(site.block, site.channels)
        if width is not None and width < NARROW:
            units = "1 hidden unit" if width == 1 else f"{width} hidden units"
            remedy = f"hidden={NARROW} or reduction={max(1, site.channels // NARROW)}"
            said = f"{units} for {site.channels} channels: all may start shut, and such a block does not learn; {remedy} gives more"
            warned.setdefault(said, []).append(site.path)
    return warned
