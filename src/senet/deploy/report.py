"""What an optimisation did: one row for every convolution, block and normalisation that it touched or left."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from senet.terminal import as_text


@dataclass(frozen=True)
class Fusion:
    """Fate of one module.

    Args:
        path: its place in the network.
        kind: its class.
        fused: what it does now beside its own work, in the order of execution.
        kept: why it, or what follows it, was left as it is; "" if there is nothing to say.
    """

    path: str
    kind: str
    fused: tuple[str, ...] = ()
    kept: str = ""


@dataclass(frozen=True)
class FusionReport:
    """Modules that were fused, and those that were not and why.

    Args:
        model: class of the network.
        rows: one for each module that was changed or could not be, in the order of execution.
    """

    model: str
    rows: tuple[Fusion, ...]

    @property
    def fused(self) -> tuple[Fusion, ...]:
        """The rows of what was changed."""
        return tuple(row for row in self.rows if row.fused)

    @property
    def kept(self) -> tuple[Fusion, ...]:
        """The rows of what was left as it is."""
        return tuple(row for row in self.rows if not row.fused)

    def count(self, part: str) -> int:
        """Return in how many places something was fused: "BN", "SE", "shortcut" or "ReLU"."""
        return sum(any(word.startswith(part) for word in row.fused) for row in self.rows)

    def table(self) -> Table:
        """Return one line a row."""
        table = Table("path", "kind", "does now", "left as it is because", box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(row.path or "(the network)", row.kind, " + ".join(row.fused), row.kept)
        counts = ", ".join(f"{self.count(part)} {part}" for part in ("BN", "SE", "shortcut", "ReLU"))
        table.caption = f"{self.model}: fused {counts}; {len(self.kept)} left"
        table.caption_justify = "left"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"model": self.model, "rows": [asdict(row) | {"fused": list(row.fused)} for row in self.rows]}

    def __str__(self) -> str:
        return as_text(self.table(), 160)
