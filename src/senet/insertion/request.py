"""What is asked of a network: a block, at one placement, in some of its stages."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from senet.insertion.places import module_paths
from senet.spec import BlockSpec, block_class
from senet.surgery.probe import Probe


@dataclass(frozen=True)
class Request:
    """One search for sites.

    Args:
        model: the network.
        block: the block.
        placement: where it sits in a unit.
        stages: the stages whose sites are wanted; None = all.
        seen: a run of the network.
        parts: the parts of an encoder-decoder network whose sites are wanted; None = where the papers put blocks.
    """

    model: nn.Module
    block: BlockSpec
    placement: str
    stages: Collection[int] | None
    seen: Probe
    parts: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Class of the network."""
        return type(self.model).__name__

    @property
    def sees_shortcut(self) -> bool:
        """Whether the block weighs a branch against its shortcut."""
        return block_class(self.block.kind).sees_shortcut

    @cached_property
    def paths(self) -> dict[nn.Module, list[str]]:
        """Module -> all its paths."""
        return module_paths(self.model)

    def includes(self, stage: int) -> bool:
        """Return whether sites of a stage are wanted."""
        return self.stages is None or stage in self.stages

    def only_elsewhere(self, stages: Collection[int]) -> str:
        """Return what to say when there are sites, but in other stages than the wanted ones."""
        there = ", ".join(map(str, sorted(set(stages))))
        return f"no site is in stages {', '.join(map(str, self.stages or ()))}; there are sites in stages {there}"
