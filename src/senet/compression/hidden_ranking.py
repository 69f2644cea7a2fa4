"""The order in which hidden units go, over all blocks of a network, and what is left within a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from senet.analysis.block_places import block_places
from senet.compression.allocated_widths import AllocatedBlock, Allocation, UniformRatio
from senet.compression.block_records import BlockRecord, written_spec
from senet.compression.budget import Budget
from senet.compression.hidden_units import HiddenUnits
from senet.errors import UsageError
from senet.models.network import ModelConfig
from senet.spec import hidden_width
from senet.weights.store import find_config


@dataclass(frozen=True)
class HiddenRanking:
    """Hidden units of a network in the order in which they go.

    Args:
        model: the network.
        groups: blocks of one width each, by what sets it.
        records: where the configuration says a block's width.
        order: group of each removal: its weakest remaining unit goes, of each of its layers one.
        dead: how many of the first removals are of units that never fire.
        whole: parameters of the network.
    """

    model: nn.Module
    groups: tuple[tuple[HiddenUnits, ...], ...]
    records: Mapping[str, BlockRecord]
    order: tuple[int, ...]
    dead: int
    whole: int

    @classmethod
    def of(cls, model: nn.Module, measured: Sequence[HiddenUnits], records: Mapping[str, BlockRecord], *, drop: bool) -> "HiddenRanking":
        """Rank the units of all blocks.

        Raises:
            UsageError: if blocks are to go from a network that cannot be built without them.
        """
        grouped: dict[object, list[HiddenUnits]] = {}
        for units in measured:
            record = records.get(units.place.path)
            if drop and (record is None or record.site is not None):
                raise UsageError(
                    f"{units.place.path} cannot be dropped: only networks of senet.create_model leave out blocks of their own, by "
                    "omitted=; leave out drop, or take blocks away with senet.remove"
                )
            grouped.setdefault(record or units.place.path, []).append(units)
        groups = tuple(map(tuple, grouped.values()))
        slots = []
        for number, group in enumerate(groups):
            strength = sum(units.importance.sort(dim=1, descending=True).values.sum(0) for units in group)
            assert isinstance(strength, Tensor)
            slots += [(value, number, -place) for place, value in enumerate(strength.tolist()) if place or drop]
        slots.sort(key=lambda slot: (slot[0] > 0 or slot[2] == 0, slot))  # of silent blocks one unit stays unless the budget takes it
        dead = sum(value == 0 and place != 0 for value, _, place in slots)
        return cls(model, groups, records, tuple(number for _, number, _ in slots), dead, sum(p.numel() for p in model.parameters()))

    def within(self, budget: Budget) -> int:
        """Return after how many removals the network is within a budget of parameters.

        Raises:
            UsageError: if it never is.
        """
        blocks = sum(units.costs[1] + units.width * units.costs[0] for group in self.groups for units in group)
        whole = blocks if budget.cost == "block params" else self.whole
        limit, left = budget.limit(whole), whole
        widths = [group[0].width for group in self.groups]
        for count in range(len(self.order) + 1):
            if left <= limit and count >= self.dead:
                return count
            if count < len(self.order):
                number = self.order[count]
                widths[number] -= 1
                group = self.groups[number]
                left -= sum(units.costs[0] + (0 if widths[number] else units.costs[1]) for units in group)
        more = "" if 0 in widths else "; drop lets whole blocks go"
        raise UsageError(f"the budget is {limit:,.0f} parameters, and {left:,} is the least that narrower blocks leave{more}")

    def allocation(self, count: int, budget: Budget) -> Allocation:
        """Return what is left after so many removals."""
        widths = [group[0].width for group in self.groups]
        for number in self.order[:count]:
            widths[number] -= 1
        by_path = {units.place.path: width for group, width in zip(self.groups, widths, strict=True) for units in group}
        measured = [units for group in self.groups for units in group]
        named = _names(self.model, measured)
        total = sum(float(units.importance.sum()) for units in measured) or 1.0
        blocks = tuple(_allocated(units, named[units.place.path], by_path[units.place.path], total) for units in measured)
        removed = sum(block.parameters[0] - block.parameters[1] for block in blocks)
        after = self.whole - removed
        config = find_config(self.model)
        before = config.omitted if isinstance(config, ModelConfig) else ()
        gone = [self.records[path] for path, width in by_path.items() if not width]
        omitted = tuple(sorted({*before, *((record.stage, record.index) for record in gone)}))
        kept = {path: width for path, width in by_path.items() if width}
        spec = written_spec(self.model, self.records, kept) if kept else None
        return Allocation(budget, blocks, (self.whole, after), self._uniform(after), measured[0].place.kind, spec, omitted)

    def _uniform(self, parameters: int) -> UniformRatio:
        """Return the ratio that brings the network nearest to a number of parameters, of equally near ones the smallest."""
        measured = [units for group in self.groups for units in group]
        fixed = self.whole - sum(units.width * units.costs[0] for units in measured)
        found = []
        for ratio in range(1, max(units.place.channels for units in measured) + 1):
            of_units = sum(hidden_width(units.place.channels, ratio) * units.costs[0] for units in measured)
            found.append(UniformRatio(ratio, fixed + of_units))
        return min(found, key=lambda one: (abs(one.parameters - parameters), one.reduction))


def _allocated(units: HiddenUnits, name: str, width: int, total: float) -> AllocatedBlock:
    own = float(units.importance.sum())
    kept = float(units.importance.sort(dim=1, descending=True).values[:, :width].sum())
    return AllocatedBlock(units.place.path, name, units, width, own / total, kept / own if own else 1.0)


def _names(model: nn.Module, measured: Sequence[HiddenUnits]) -> dict[str, str]:
    """Return the papers' names of blocks, by path."""
    paths = {model.get_submodule(units.place.path): units.place.path for units in measured}
    places = block_places(model, paths, [units.place.channels for units in measured])
    return {place.path: place.name for place in places}
