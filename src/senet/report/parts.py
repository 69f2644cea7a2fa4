"""What a task tells of parts of the images, as the page shows it: a table of every figure, and a chart of the differences in the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet.report.differences import draw_axis
from senet.report.svg import LETTER, Drawing, Scale, fit, series
from senet.results.comparison import Result
from senet.results.metric import Metric
from senet.results.tables import Cell, cells_of, columns_of, difference_words, heading_of, metric_of

VARIANT_LINE = 15.0
"""Height of a variant's line in the chart."""
LABEL_WIDTH = 190.0
"""Pixels that the names of rows may take in the chart."""
CHARTED = 40
"""Rows up to which a chart can be taken in; of more the table tells."""


@dataclass(frozen=True)
class PartTable:
    """Column of a table of parts, as text.

    Args:
        heading: what it is: "Dice % by region size".
        name: name of the table, over its rows.
        labels: of the variants, with their colours.
        rows: name, what describes the row, and for each variant its figure and its difference.
        chart: the differences to the baseline; None where there are none to draw.
    """

    heading: str
    name: str
    labels: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    chart: Drawing | None


def part_tables(result: Result) -> list[list[PartTable]]:
    """Return for each table of parts its columns of figures."""
    every = [tables for of_variant in result.tables.values() for tables in of_variant]
    return [[_part_table(result, name, column) for column in columns] for name, columns in columns_of(every).items()]


def _part_table(result: Result, name: str, column: str) -> PartTable:
    metric, labels = metric_of(column, result.metrics), [variant.label for variant in result.variants]
    cells = cells_of(result.tables, name, column)
    heading = f"{heading_of(column, result.metrics)} by {name}{metric.direction}"
    rows = tuple((cell.row, cell.described, tuple(cell.words(label, labels[0], metric) for label in labels)) for cell in cells)
    drawn = [cell for cell in cells if any(cell.difference(label, labels[0]) for label in labels[1:])]
    chart = part_chart(result, drawn, metric, name) if 0 < len(drawn) <= CHARTED else None
    coloured = tuple((label, series(place)) for place, label in enumerate(labels))
    return PartTable(heading[:1].upper() + heading[1:], name, coloured, rows, chart)


def part_chart(result: Result, cells: Sequence[Cell], metric: Metric, name: str) -> Drawing:
    """Draw the mean paired difference of every variant in each row, with its 95 % interval where there is one."""
    base, labels = result.baseline.label, [variant.label for variant in result.variants]
    found = {(cell.row, label): cell.difference(label, base) for cell in cells for label in labels[1:]}
    ends = [0.0, *(end for d in found.values() if d for end in (d.mean, d.low, d.high) if end is not None)]
    words = "; ".join(f"{row}, {label}: {difference_words(d, metric)}" for (row, label), d in found.items() if d)
    margin = min(LABEL_WIDTH, 10 + LETTER * max(len(cell.row) for cell in cells))
    block = 10 + VARIANT_LINE * (len(labels) - 1)
    drawing = Drawing(460, 26 + block * len(cells) + 40, f"Difference in {metric.title} to {base} by {name}. {words}.")
    pad = max(10.0 ** (1 - metric.decimals), 0.06 * (max(ends) - min(ends)))
    x, bottom = Scale(min(ends) - pad, max(ends) + pad, margin, 450), drawing.height - 36
    draw_axis(drawing, x, bottom, 5, base, metric)
    for place, cell in enumerate(cells):
        top = 26 + block * place
        drawing.text((0, top + VARIANT_LINE * (len(labels) - 1) / 2 + 4), fit(cell.row, margin), class_="label")
        for line, label in enumerate(labels[1:]):
            difference, colour, y = found[cell.row, label], series(line + 1), top + VARIANT_LINE * (line + 0.5)
            if difference is None:
                continue
            if difference.low is not None and difference.high is not None:
                drawing.line((x(difference.low), y), (x(difference.high), y), class_=f"interval {colour}")
            tip = f"{cell.row}, {label}: {difference_words(difference, metric)}"
            drawing.add("circle", tip=tip, cx=x(difference.mean), cy=y, r=4.0, class_=f"dot {colour}")
    return drawing
