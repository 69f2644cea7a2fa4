"""Prove that inserted blocks are on the path: they are called, and what they change reaches the output and gets a gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from senet.errors import UsageError
from senet.insertion.plan import Site
from senet.surgery.arguments import Arguments
from senet.surgery.reach import Effect, effects

ZERO_VALUE = "its branch gives zeros now (weights at zero): the block acts once they have moved"
ZERO_EFFECT = "a weight of zero hides its branch now: the block acts once that has moved"
NOTES = {Effect.ACTS: "", Effect.ZERO_INPUT: ZERO_VALUE, Effect.HIDDEN: ZERO_EFFECT}


@dataclass(frozen=True)
class Inserted:
    """One inserted block.

    Args:
        site: where it is.
        block: the block.
        container: the smallest module that holds its unit, as it is after the insertion.
    """

    site: Site
    block: nn.Module
    container: nn.Module


def verify(inserted: Sequence[Inserted], calls: Mapping[nn.Module, Arguments]) -> dict[nn.Module, str]:
    """Prove each block inside its smallest container, in evaluation mode, on random inputs of the shapes that the container gets.

    Args:
        inserted: the blocks.
        calls: how the network calls its modules, with the blocks in it.

    Returns:
        Block -> what is to be said of it: that its branch is zero now, or nothing.

    Raises:
        UsageError: if a block is not called, or does not reach its container's output; it names the path.
    """
    notes: dict[nn.Module, str] = {}
    for container in dict.fromkeys(entry.container for entry in inserted):
        within = [entry for entry in inserted if entry.container is container]
        for entry in within:
            if entry.block not in calls or container not in calls:
                raise UsageError(f"the block at {entry.site.path} is never called: the forward around it goes past {entry.site.host}")
        found = effects(container, [entry.block for entry in within], calls[container])
        for entry in within:
            if found[entry.block] is Effect.NONE:
                raise UsageError(f"the block at {entry.site.path} does not reach the output of {entry.site.container or 'the network'}")
            notes[entry.block] = NOTES[found[entry.block]]
    return notes
