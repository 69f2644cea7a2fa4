"""Which unit of a network gets which block."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.spec import PLACEMENTS, BlockSpec, block_class, check_choice, check_placement

BlockRule = Callable[[int, int, int], BlockSpec | None]
"""(stage, index of the unit in its stage from 1, channels) -> its block, or None."""


@dataclass(frozen=True)
class Recalibration:
    """Give every residual unit its block, or none.

    Args:
        block: one spec for all units, a rule that decides for each, or None for the plain network.
        placement: where the block sits in its unit.
        stages: stages that get a block, in the paper's numbering; None = all.
        defaults: what the network's family has for options that a spec leaves None.
    """

    block: BlockSpec | BlockRule | None = None
    placement: str = "standard"
    stages: Collection[int] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def check(self, known: Collection[int], placements: tuple[str, ...] = PLACEMENTS) -> None:
        """Raise UsageError unless the network has the placement, the block can sit there, and `known` has all the stages that are named."""
        check_choice("placement", self.placement, PLACEMENTS)
        if self.placement not in placements:
            raise UsageError(f"this network takes the placement {' or '.join(placements)} only, got {self.placement!r}")
        if isinstance(self.block, BlockSpec):
            check_placement(self.block.kind, self.placement)
        values = self.block.options.values() if isinstance(self.block, BlockSpec) else ()
        named = set(self.stages or ()).union(*(value for value in values if isinstance(value, dict)))
        if unknown := sorted(named - set(known)):
            raise UsageError(f"this network has no stage {unknown[0]}; its stages are {', '.join(map(str, known))}")
        if self.stages is not None and not self.stages:
            raise UsageError("stages is empty: give the stages that get a block, None for all, or block=None for the plain network")

    def build(self, stage: int, index: int, channels: int, *, residual: bool = False, **defaults: Any) -> nn.Module | None:
        """Build the block of unit `index` (from 1) of `stage`, or return None if it gets none.

        Args:
            stage: stage in the paper's numbering.
            index: place in the stage, from 1.
            channels: channels of the maps.
            residual: whether the unit has a shortcut to hand to a block that needs one.
            defaults: the unit's values for options that neither the spec nor the family sets.

        Raises:
            UsageError: if the block cannot sit there, or cannot be built for that many channels.
        """
        if self.block is None or (self.stages is not None and stage not in self.stages):
            return None
        spec = self.block if isinstance(self.block, BlockSpec) else self.block(stage, index, channels)
        if spec is None:
            return None
        check_placement(spec.kind, self.placement)
        if block_class(spec.kind).sees_shortcut and not residual:
            raise UsageError(
                f"{spec.kind!r} weighs a branch against the shortcut that it is added to, "
                "which not every unit of this network has: use 'se'"
            )
        return build_block(spec.at_stage(stage).with_defaults(**(defaults | dict(self.defaults))), channels)


def with_reduction(spec: BlockSpec, reduction: int | dict[int, int] | None) -> BlockSpec:
    """Return the spec with this reduction.

    Raises:
        UsageError: if both say one.
    """
    if reduction is None:
        return spec
    if {"reduction", "hidden"} & spec.options.keys():
        raise UsageError(f"reduction={reduction} is given twice: the block has {spec.to_dict()}; leave one out")
    return spec.with_options(reduction=reduction)
