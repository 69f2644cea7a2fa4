"""Hidden widths of the blocks of a network under a budget, as data."""

from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from senet.compression.budget import Budget
from senet.compression.hidden_units import HiddenUnits
from senet.compression.latency_budget import LatencyTrial
from senet.spec import BlockSpec
from senet.terminal import as_text


@dataclass(frozen=True)
class AllocatedBlock:
    """Hidden units that one block keeps.

    Args:
        path: the block's path.
        name: the paper's name of it, such as SE_3_4.
        units: its hidden units as they were measured.
        width: how many of each of its layers stay; 0 = the block goes.
        share: importance of its units among that of all blocks' units.
        kept: importance of the units that stay among that of its own.
    """

    path: str
    name: str
    units: HiddenUnits = field(repr=False)
    width: int
    share: float
    kept: float

    @property
    def parameters(self) -> tuple[int, int]:
        """Parameters of the block before and after."""
        of_unit, rest = self.units.costs
        return rest + self.units.width * of_unit, rest + self.width * of_unit if self.width else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        before, after = self.parameters
        return {
            "path": self.path,
            "name": self.name,
            "channels": self.units.place.channels,
            "hidden": {"before": self.units.width, "after": self.width, "dead": self.units.dead},
            "importance": {"share": self.share, "kept": self.kept},
            "parameters": {"before": before, "after": after},
        }


@dataclass(frozen=True)
class UniformRatio:
    """One reduction ratio for all blocks that comes nearest to an allocation in parameters.

    Args:
        reduction: the ratio r; the hidden width of C channels is max(1, C // r).
        parameters: of the network with it.
    """

    reduction: int
    parameters: int


@dataclass(frozen=True)
class Allocation:
    """Hidden widths of the blocks of a network under a budget; nothing changes until `prune_hidden(model, allocation)`.

    Args:
        budget: what the network may cost.
        blocks: one entry a block, in the order of the modules.
        parameters: of the network before and after.
        uniform: the single ratio of about as many parameters.
        kind: of the blocks, or of the first one.
        spec: the block as a recipe names it, with `hidden` by unit; None where the network's configuration names none.
        omitted: the units whose block goes, (stage, index from 1), those that had none before among them.
        tried: what was timed, for a budget of latency.
    """

    budget: Budget
    blocks: tuple[AllocatedBlock, ...]
    parameters: tuple[int, int]
    uniform: UniformRatio
    kind: str
    spec: BlockSpec | None = None
    omitted: tuple[tuple[int, int], ...] = ()
    tried: tuple[LatencyTrial, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        """Path of each block -> its hidden width."""
        return {block.path: block.width for block in self.blocks}

    @property
    def can_be_asked_for(self) -> bool:
        """Whether a recipe can ask for these widths, or for no blocks at all."""
        return self.spec is not None or len(self.dropped) == len(self.blocks)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths of the blocks that go."""
        return tuple(block.path for block in self.blocks if not block.width)

    def table(self) -> Table:
        """Return one row a block."""
        table = Table(
            "block", "channels", "hidden", "after", "dead", "importance %", "kept %", "parameters", "after", box=None, pad_edge=False
        )
        for block in self.blocks:
            before, after = block.parameters
            units = (block.units.place.channels, block.units.width, block.width or "dropped", block.units.dead)
            shares = (f"{100 * block.share:.1f}", f"{100 * block.kept:.1f}")
            table.add_row(block.name, *map(str, units), *shares, f"{before:,}", f"{after:,}")
        for column in table.columns[1:]:
            column.justify = "right"
        table.caption = "\n".join(self.remarks())
        table.caption_justify = "left"
        return table

    def remarks(self) -> list[str]:
        """Return what a reader should know beside the rows, one line each."""
        before, after = self.parameters
        in_blocks = [sum(block.parameters[end] for block in self.blocks) for end in (0, 1)]
        said = [
            f"budget: {self.budget}",
            f"parameters: {before:,} before, {after:,} after; in blocks {in_blocks[0]:,} before, {in_blocks[1]:,} after",
            f"nearest single ratio: {self.uniform.reduction}, with {self.uniform.parameters:,} parameters",
        ]
        if self.tried:
            said.append(f"time of an image: {self.tried[-1]} of what it was, measured on this device")
        if self.dropped:
            said.append(f"{len(self.dropped)} blocks go: their gates become 1, and the outputs change until the network is trained on")
        return said

    def __str__(self) -> str:
        return as_text(self.table(), 140)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "budget": {"amount": self.budget.amount, "cost": self.budget.cost},
            "parameters": {"before": self.parameters[0], "after": self.parameters[1]},
            "block": None if self.spec is None else self.spec.to_dict(),
            "omitted": [list(unit) for unit in self.omitted],
            "uniform": vars(self.uniform),
            "blocks": [block.to_dict() for block in self.blocks],
            "tried": [vars(trial) for trial in self.tried],
        }
