"""Which unit of a network gets which block."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.spec import PLACEMENTS, BlockRule, BlockSpec, Recalibration, block_class, check_choice, check_placement
from senet.unit_values import stage_of, units_named


@dataclass(frozen=True)
class UnitBlocks:
    """Blocks of the units of a network: each unit asks for its own as it is built.

    Args:
        recalibration: what recalibrates the network, its block resolved to a spec, a rule, or None for the plain network.
        omitted: the units, (stage, index from 1), that get no block whatever `recalibration` says.
        defaults: what the network's family has for options that a spec does not set.
    """

    recalibration: Recalibration = field(default_factory=lambda: Recalibration(None))
    omitted: Collection[tuple[int, int]] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    asked: dict[tuple[int, int], None] = field(default_factory=dict, compare=False, repr=False)
    """The units that have asked, in order."""

    @property
    def block(self) -> BlockSpec | BlockRule | None:
        """One spec for all units, a rule that decides for each, or None."""
        assert not isinstance(self.recalibration.block, str)
        return self.recalibration.block

    @property
    def placement(self) -> str:
        """Where a block sits in its unit."""
        return self.recalibration.placement

    def check(self, known: Collection[int], placements: tuple[str, ...] = PLACEMENTS) -> None:
        """Raise UsageError unless the network has the placement, the block can sit there, and `known` has all the stages that are named."""
        check_choice("placement", self.placement, PLACEMENTS)
        if self.placement not in placements:
            raise UsageError(f"this network takes the placement {' or '.join(placements)} only, got {self.placement!r}")
        if isinstance(self.block, BlockSpec):
            check_placement(self.block.kind, self.placement)
        stages = self.recalibration.stages
        values = self.block.options.values() if isinstance(self.block, BlockSpec) else ()
        named = set(stages or ()).union(*(map(stage_of, value) for value in values if isinstance(value, dict)))
        if unknown := sorted(named - set(known)):
            raise UsageError(f"this network has no stage {unknown[0]} for a block; its stages are {', '.join(map(str, known))}")
        if stages is not None and not stages:
            raise UsageError("stages is empty: give the stages that get a block, None for all, or block=None for the plain network")

    def check_units(self) -> None:
        """Raise UsageError unless all units that are named have asked for a block: the network, which is built by now, has them."""
        options = self.block.options if isinstance(self.block, BlockSpec) else {}
        named = [("omitted", unit) for unit in self.omitted]
        for what, (stage, index) in named + [(name, unit) for name, value in options.items() for unit in units_named([value])]:
            if (stage, index) not in self.asked:
                counts = {number: sum(unit[0] == number for unit in self.asked) for number, _ in self.asked}
                units = ", ".join(f"{count} in stage {number}" for number, count in counts.items())
                raise UsageError(f"{what} names unit {index} of stage {stage}, which this network does not have; it has {units}")

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
        self.asked[stage, index] = None
        stages = self.recalibration.stages
        if self.block is None or (stages is not None and stage not in stages) or (stage, index) in self.omitted:
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
        return build_block(spec.at_unit(stage, index).with_defaults(**(defaults | dict(self.defaults))), channels)
