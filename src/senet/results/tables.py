"""What a task tells beside its metrics, such as a figure for each class: tables of figures, and what several runs say of them. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senet.measuring.numbers import mean_sd
from senet.measuring.paired import Difference, paired_difference
from senet.results.metric import Metric
from senet.schema import either, finite, integer, optional, record, table, text

if TYPE_CHECKING:
    from rich.table import Table

Tables = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""Name of a table -> name of a row -> name of a column -> figure; None where there is nothing to say.

An int counts something of the images and describes the row ("pixels"); a float is what predictions reach there ("dice"). A column that is
called like a metric is one, in its unit.
"""

_NAME = text(1000, low=1)
TABLES = table(_NAME, table(_NAME, table(text(100, low=1), optional(either(integer(0, 2**63), finite()))), high=10**6), high=100)
"""The rule for tables as plain data."""

TOLD = record({"epoch": integer(1, 10**6), "tables": TABLES}, needed=("epoch", "tables"))
"""The rule for the tables of one epoch, counted from 1."""

EPOCH_TABLES = record({"best": TOLD, "last": TOLD}, needed=("best", "last"))
"""The rule for tables.json of a run."""

NONE = "\N{EN DASH}"
"""What is shown where there is no figure."""


@dataclass(frozen=True)
class Cell:
    """A column of a table's row in all runs of a comparison.

    Args:
        row: name of the row.
        counts: what describes the row in the first run: column -> count.
        values: label of each variant -> its figures, one a seed; empty unless each of its runs has one.
    """

    row: str
    counts: Mapping[str, int]
    values: Mapping[str, tuple[float, ...]]

    def difference(self, label: str, baseline: str) -> Difference | None:
        """Return the paired difference of a variant to the baseline; None where one of the two has no figures."""
        ours, theirs = self.values[label], self.values[baseline]
        return paired_difference(ours, theirs) if ours and theirs else None

    def words(self, label: str, baseline: str, metric: Metric) -> tuple[str, str]:
        """Return a variant's figure, and its difference to the baseline where there is one: "83.30 ± 1.67", "-0.61 (-3.68 to +2.47)"."""
        values = self.values[label]
        difference = None if label == baseline else self.difference(label, baseline)
        return mean_sd(values, metric.decimals) if values else NONE, "" if difference is None else difference_words(difference, metric)

    @property
    def described(self) -> str:
        """The counts in words: "pixels 1,234, images 4"."""
        return ", ".join(f"{column} {count:,}" for column, count in self.counts.items())


def columns_of(runs: Sequence[Tables]) -> dict[str, tuple[str, ...]]:
    """Return name of each table of some runs -> its columns of figures, in the order in which they are first met."""
    found: dict[str, dict[str, bool]] = {}
    for name, _, column, value in (entry for run in runs for entry in _entries(run)):
        columns = found.setdefault(name, {})
        columns[column] = columns.get(column, False) or isinstance(value, float)
    return {name: figures for name, columns in found.items() if (figures := tuple(column for column in columns if columns[column]))}


def cells_of(runs: Mapping[str, Sequence[Tables]], name: str, column: str) -> list[Cell]:
    """Return one cell for each row that a column of a table has in any run.

    Args:
        runs: label of each variant -> the tables of its runs, one a seed.
        name: name of the table.
        column: name of the column.
    """
    every = [tables.get(name, {}) for of_variant in runs.values() for tables in of_variant]
    rows = dict.fromkeys(row for table in every for row in table)
    return [Cell(row, _counts(every, row), {label: _values(of, name, row, column) for label, of in runs.items()}) for row in rows]


def heading_of(column: str, metrics: Sequence[Metric]) -> str:
    """Return what people read over a column: a metric's title with its unit, else its name."""
    metric = metric_of(column, metrics)
    return f"{metric.title} {metric.unit}".rstrip()


def metric_of(column: str, metrics: Sequence[Metric]) -> Metric:
    """Return the metric that a column is called like; a column of another name is a plain number."""
    return next((metric for metric in metrics if metric.name == column), Metric(column, column.replace("_", " ")))


def terminal_tables(tables: Tables, metrics: Sequence[Metric]) -> "list[Table]":
    """Return the tables of one evaluation for the terminal."""
    from rich.table import Table

    shown = []
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        table = Table(name)
        for column in columns:
            table.add_column(heading_of(column, metrics), justify="right")
        for row, values in rows.items():
            table.add_row(row, *(_figure(values.get(column), metric_of(column, metrics)) for column in columns))
        shown.append(table)
    return shown


def compared_tables(runs: Mapping[str, Sequence[Tables]], metrics: Sequence[Metric]) -> "list[Table]":
    """Return the tables of a comparison for the terminal: the first figure of each, a line for every row and variant, the baseline first.

    Variants stand below each other, since intervals of more than two beside each other leave no room in 80 columns.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = []
    for name, (column, *_) in columns_of([tables for of in runs.values() for tables in of]).items():
        metric, baseline = metric_of(column, metrics), next(iter(runs))
        table = Table(title=f"{heading_of(column, metrics)} by {name}{metric.direction}", title_justify="left", box=SIMPLE_HEAD)
        table.show_edge, table.padding = False, (0, 1, 0, 0)
        table.add_column(name)
        table.add_column("variant")
        for heading in (metric.title, "difference"):
            table.add_column(heading, justify="right", no_wrap=True)
        for cell in cells_of(runs, name, column):
            for label in runs:
                table.add_row(cell.row if label == baseline else "", label, *cell.words(label, baseline, metric))
        shown.append(table)
    return shown


def difference_words(difference: Difference, metric: Metric) -> str:
    """Write a difference and its interval, if it has one: "+0.40 (+0.10 to +0.70)"."""
    said = metric.signed(difference.mean)
    if difference.low is None or difference.high is None:
        return said
    return f"{said} ({metric.signed(difference.low)} to {metric.signed(difference.high)})"


def _counts(every: Sequence[Mapping[str, Mapping[str, float | None]]], row: str) -> dict[str, int]:
    first = next(table[row] for table in every if row in table)
    return {column: value for column, value in first.items() if isinstance(value, int)}


def _values(of_variant: Sequence[Tables], name: str, row: str, column: str) -> tuple[float, ...]:
    found = [tables.get(name, {}).get(row, {}).get(column) for tables in of_variant]
    known = tuple(value for value in found if value is not None)
    return known if len(known) == len(found) else ()


def _entries(tables: Tables) -> Iterator[tuple[str, str, str, float | None]]:
    for name, rows in tables.items():
        for row, columns in rows.items():
            for column, value in columns.items():
                yield name, row, column, value


def _figure(value: float | None, metric: Metric) -> str:
    return NONE if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.{metric.decimals}f}"
