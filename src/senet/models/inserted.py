"""Networks of recipes whose blocks are inserted into the plain network: beside trained weights that know of none."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from senet.errors import UsageError
from senet.insertion.apply import apply
from senet.insertion.history import set_plans
from senet.insertion.insert import insert
from senet.insertion.plan import InsertPlan
from senet.insertion.sites import find_sites
from senet.models.detection.detector import Detector
from senet.models.foreign import INSERTION_OPTIONS, inserted, is_foreign
from senet.models.registry import family_of, resolve_block, split_name
from senet.spec import BlockSpec, Recalibration
from senet.weights.check import MisfitError


@dataclass(frozen=True)
class Insertion:
    """Blocks that a network gets after its weights.

    Args:
        host: name of the plain network.
        block: the block.
        init: "identity" or "paper", see `senet.insert`.
        placement: where it sits in a unit.
        stages: the stages that get one; None = all.
        where: `existing`, `at` and `parts` of `senet.insert`, if they are given.
    """

    host: str
    block: BlockSpec
    init: Any
    placement: str
    stages: Collection[int] | None
    where: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def take(cls, name: str, recalibration: Recalibration, init: str, options: dict[str, Any]) -> "Insertion | None":
        """Take what says where blocks go out of a network's options; return None for a plain network, whose options are then its own.

        Raises:
            UsageError: for an unknown network, a block that is a rule, or one of no such options.
        """
        where = {option: options.pop(option) for option in INSERTION_OPTIONS if option in options}
        host, defaults = name, {}
        if is_foreign(name):
            given = Recalibration(None) if recalibration.block in (None, "auto") else recalibration
            resolved = given.with_block(given.block)
        else:
            kind, host = split_name(name)
            family = family_of(host, options)
            resolved, defaults = resolve_block(name, kind, family, recalibration), family.block_defaults
        if resolved.block is None:
            return None
        if not isinstance(resolved.block, BlockSpec):
            raise UsageError(f"model.init {init} needs a block of one kind, such as block='se'")
        return cls(host, resolved.block.with_defaults(**defaults), init, resolved.placement, resolved.stages, where)

    def into(self, model: nn.Module) -> None:
        """Put the blocks into the network, in place.

        One on the meta device gets them without the proof that they are on its path, and so does a detector of this package, whose heads
        would take a thousand regions for it.

        Raises:
            UsageError: as `senet.insert` does.
        """
        outlined = any(tensor.device.type == "meta" for tensor in model.parameters())
        if outlined or isinstance(model, Detector):
            plan = find_sites(model, self.block, placement=self.placement, stages=self.stages, **self.where)
            with torch.device("meta") if outlined else nullcontext():
                set_plans(model, [apply(model, replace(plan, init=self.init), proof=False)])
        else:
            insert(model, self.block, placement=self.placement, stages=self.stages, init=self.init, **self.where)

    def as_before(self, model: nn.Module, plans: Sequence[Mapping[str, Any]], source: str) -> None:
        """Put in the blocks that trained weights hold already, by the plans that they were inserted by; the weights follow.

        Raises:
            UsageError: if these plans are not what is asked for.
        """
        asked = find_sites(model, self.block, placement=self.placement, stages=self.stages, **self.where)
        held = [InsertPlan.from_dict(plan) for plan in plans]
        if len(held) != 1 or held[0].init != self.init or _places(held[0]) != _places(asked):
            raise MisfitError(f"{source} {_held(held)}, and other ones are asked for: {_named(replace(asked, init=self.init))}")
        inserted(model, plans)


def refuse_blocks(plans: Sequence[Mapping[str, Any]], source: str) -> None:
    """Raise UsageError if weights for a network without inserted blocks hold some."""
    if plans:
        held = [InsertPlan.from_dict(plan) for plan in plans]
        kind, init = held[0].sites[0].block.kind, held[0].init
        raise UsageError(
            f"{source} {_held(held)}: a recipe asks for them by --model.block {kind} --model.init {init}, senet.from_pretrained builds the "
            "network with them, and senet.remove takes them out of it"
        )


def _places(plan: InsertPlan) -> list[tuple[str, str, BlockSpec]]:
    return [(site.path, site.position, site.block) for site in plan]


def _held(plans: Sequence[InsertPlan]) -> str:
    """Return in words what was inserted."""
    return f"holds {' and '.join(map(_named, plans))}"


def _named(plan: InsertPlan) -> str:
    first = plan.sites[0]
    return f"inserted {first.block.kind} blocks begun as {plan.init} at {len(plan)} sites, first at {first.path}"
