"""The networks of the papers beside what the papers print of them: parameters, MACs, errors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import torch
import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from senet.errors import UsageError
from senet.measuring.counting import operations
from senet.measuring.parts import block_paths
from senet.models.create import create_model
from senet.models.network import Network
from senet.spec import BlockSpec

DECIMAL_PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Printed:
    """Number as a paper prints it: "3.86 G"."""

    text: str

    @property
    def value(self) -> float:
        """The number."""
        number, unit = self.text.split()
        return float(number) * DECIMAL_PREFIXES[unit]

    @property
    def tolerance(self) -> float:
        """Half a unit of the last digit."""
        number, unit = self.text.split()
        return 0.5 * DECIMAL_PREFIXES[unit] / 10 ** len(number.partition(".")[2])

    def agrees(self, counted: int) -> bool:
        """Return whether a count rounds to the printed number."""
        return abs(counted - self.value) <= self.tolerance


@dataclass(frozen=True)
class PaperRow:
    """One network of a paper.

    Args:
        table: where it is printed.
        name: what the paper calls it.
        model: our name.
        options: options of `create_model`.
        parameters: learnable parameters as printed, if they are.
        macs: multiply-accumulates as printed, if they are.
        errors: top-1 and top-5 error in percent as printed.
        note: why our count differs from a printed one.
    """

    table: str
    name: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: str | None = None
    macs: str | None = None
    errors: str | None = None
    note: str | None = None

    def network(self) -> Network:
        """Build it without allocating anything."""
        options = dict(self.options)
        if "block" in options:
            options["block"] = BlockSpec.from_dict(options["block"])
        model = create_model(self.model, device="meta", **options)
        assert isinstance(model, Network)
        return model


@dataclass(frozen=True)
class CountedRow:
    """Row with what is counted here: parameters, MACs per image, and the paths of the blocks."""

    row: PaperRow
    parameters: int
    macs: int
    blocks: tuple[str, ...]

    @classmethod
    def of(cls, row: PaperRow) -> "CountedRow":
        """Build the network on the meta device and count."""
        model = row.network().eval()
        macs, _ = operations(model, torch.empty(1, *model.input_size, device="meta"))
        return cls(row, sum(p.numel() for p in model.parameters()), macs[""], tuple(block_paths(model)))

    @property
    def deviations(self) -> tuple[str, ...]:
        """Which of the counts do not round to the printed numbers: "parameters", "macs"."""
        pairs = {"parameters": (self.row.parameters, self.parameters), "macs": (self.row.macs, self.macs)}
        return tuple(name for name, (printed, counted) in pairs.items() if printed is not None and not Printed(printed).agrees(counted))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"paper": asdict(self.row), "parameters": self.parameters, "macs": self.macs, "blocks": list(self.blocks)} | {
            "deviations": list(self.deviations)
        }


@dataclass(frozen=True)
class PaperTables:
    """The papers' tables with our counts."""

    rows: tuple[CountedRow, ...]

    @classmethod
    def of(cls, pattern: str = "*", watch: Callable[[list[PaperRow]], Iterable[PaperRow]] = iter) -> "PaperTables":
        """Count the networks whose name here, or in the paper, matches a shell wildcard.

        Args:
            pattern: the wildcard.
            watch: passes the rows on, e.g. to show progress.

        Raises:
            UsageError: if nothing matches.
        """
        rows = [row for row in paper_rows() if fnmatchcase(row.model, pattern) or fnmatchcase(row.name, pattern)]
        if not rows:
            raise UsageError(f"no network of the papers matches {pattern!r}; `senet models --paper` lists all")
        return cls(tuple(CountedRow.of(row) for row in watch(rows)))

    def table(self) -> Group:
        """Return a table for each of the papers', and the notes, for the terminal."""
        notes = list(dict.fromkeys(row.row.note for row in self.rows if row.row.note))
        titles = dict.fromkeys(row.row.table for row in self.rows)
        tables = [_table(title, [row for row in self.rows if row.row.table == title], notes) for title in titles]
        return Group(*tables, *(Text(f"{number}  {note}") for number, note in enumerate(notes, 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"rows": [row.to_dict() for row in self.rows]}


def paper_rows() -> list[PaperRow]:
    """Return every row of the papers' tables."""
    data = yaml.safe_load(files("senet").joinpath("profiling", "paper.yaml").read_text(encoding="utf-8"))
    rows = [{"table": table["table"], **row} for table in data["tables"] for row in table["rows"]]
    return [PaperRow(**row | {"note": data["notes"].get(row.get("note"))}) for row in rows]


def _table(title: str, rows: list[CountedRow], notes: list[str]) -> Table:
    """Return one table; columns in which no row has anything are left out."""
    cells = [_cells(row, notes) for row in rows]
    headings = [heading for heading in cells[0] if any(row[heading] for row in cells)]
    table = Table(*(heading.removesuffix(" ") for heading in headings), title=title, title_justify="left", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in cells:
        table.add_row(*(row[heading] for heading in headings))
    return table


def _cells(counted: CountedRow, notes: list[str]) -> dict[str, str | Text]:
    row = counted.row
    call = " ".join([row.model, *(_brief(name, value) for name, value in row.options.items())])
    return {
        "network": Text.assemble(row.name, "  ", (call, "dim")),
        "parameters": f"{counted.parameters:,}",
        "printed": row.parameters or "",
        "MACs": f"{counted.macs / 1e9:.3f} G" if counted.macs >= 1e9 else f"{counted.macs / 1e6:.2f} M",
        "printed ": row.macs or "",
        "blocks": str(len(counted.blocks) or ""),
        "error %": row.errors or "",
        "note": str(notes.index(row.note) + 1) if row.note else "",
    }


def _brief(name: str, value: object) -> str:
    """Write an option in few characters: a block as "se,bias=False"."""
    if not isinstance(value, Mapping):
        return f"{name}={value}"
    return ",".join(str(entry) if key == "kind" else f"{key}={entry}" for key, entry in value.items())
