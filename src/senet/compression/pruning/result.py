"""What pruning did: the network, what went where, and what that costs and saves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table
from torch import nn

from senet.compression.pruning.channels import HIDDEN_UNITS
from senet.compression.pruning.target import COUNTED, Target, Trial
from senet.measuring.counting import Cost
from senet.measuring.numbers import compact, compact_bytes
from senet.measuring.timing import Ratio

FIGURES = {"params": ("params", lambda value: f"{value:,}"), "macs": ("MACs", compact), "activation_bytes": ("memory", compact_bytes)}


@dataclass(frozen=True)
class SetRow:
    """Fate of a set of interchangeable channels.

    Args:
        name: path of the layer that gives them.
        before: outputs of that layer that are of this set.
        after: how many of these are left.
        measure: the rank that they were judged by; "" if they were left whole.
        fixed: why they were left whole; "" if they were not.
    """

    name: str
    before: int
    after: int
    measure: str
    fixed: str


@dataclass(frozen=True)
class Pruned:
    """Network without some of the channels of another.

    Args:
        model: the network.
        rank: what channels were judged by.
        scope: where they were compared.
        round_to: what widths are multiples of.
        seed: of the rank "random".
        ratios: share of the channels that was to go by the end of each step: `prune(ratio=ratios)` does the same again.
        target: what it was to cost; None if the ratio was given.
        widths: path of each layer that was cut -> inputs, outputs and groups it has; 0 where they stayed.
        kept: path -> side of the layer, "inputs" or "outputs" -> indices of its channels that are left, where some went.
        before: what the other network costs an image.
        after: what this one costs.
        latency: time of a forward pass of the example through this network over that through the other, measured in turn.
        rows: what became of every set of channels.
        trials: the ratios that were tried for the target.
    """

    model: nn.Module = field(repr=False)
    rank: str
    scope: str
    round_to: int
    seed: int
    ratios: tuple[float, ...]
    target: Target | None
    widths: Mapping[str, tuple[int, int, int]] = field(repr=False)
    kept: Mapping[str, Mapping[str, list[int]]] = field(repr=False)
    before: Cost
    after: Cost
    latency: Ratio
    rows: tuple[SetRow, ...] = field(repr=False)
    trials: tuple[Trial, ...] = ()

    @property
    def ratio(self) -> float:
        """Share of the channels that was to go in the end."""
        return self.ratios[-1]

    @property
    def shares(self) -> dict[str, float]:
        """What is left of each cost, of 1."""
        counted = {kind: getattr(self.after, name) / getattr(self.before, name) for kind, name in COUNTED.items()}
        return counted | {"latency": self.latency.median}

    def table(self) -> Table:
        """Return one row a set of channels, then what is left of each cost."""
        table = Table("channels of", "before", "after", "ranked by", title=self.sentence(), title_justify="left", box=None, pad_edge=False)
        for row in self.rows:
            if row.fixed != HIDDEN_UNITS:
                table.add_row(row.name, str(row.before), str(row.after), row.measure or f"left whole: {row.fixed}")
        table.add_row()
        for name, (title, text) in FIGURES.items():
            before, now = getattr(self.before, name), getattr(self.after, name)
            table.add_row(title, text(before), text(now), f"{now / before:.3f}")
        time = self.latency
        table.add_row("latency", "1", f"{time.median:.3f}", f"quartiles {time.low:.3f}-{time.high:.3f}, CPU time {time.cpu:.3f}")
        for column in table.columns[1:3]:
            column.justify = "right"
        return table

    def sentence(self) -> str:
        """Say what went, and whether the time went with the multiplications."""
        left, time = self.shares["macs"], self.latency.median
        gained = "as measured it is no faster" if time >= 1 else f"and {time:.2f} of the time as measured"
        return f"{self.rank}, ratio {self.ratio:.3f}: {left:.2f} of the MACs are left, {gained}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: all but the network."""
        settings = {"rank": self.rank, "scope": self.scope, "round_to": self.round_to, "seed": self.seed, "ratios": list(self.ratios)}
        return settings | {
            "target": None if self.target is None else asdict(self.target),
            "widths": {path: list(own) for path, own in self.widths.items()},
            "kept": {path: dict(sides) for path, sides in self.kept.items()},
            "before": asdict(self.before),
            "after": asdict(self.after),
            "latency": self.latency.to_dict(),
            "shares": self.shares,
            "rows": [asdict(row) for row in self.rows],
            "trials": [asdict(trial) for trial in self.trials],
        }
