"""Put the page together: sentences, table and figures of a result in one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

import yaml

from senet.measuring.numbers import mean_sd
from senet.report.cases import shown_cases
from senet.report.costs import cost_chart
from senet.report.curves import learning_chart
from senet.report.differences import difference_chart
from senet.report.document import document, markup
from senet.report.excitations import ALL_IMAGES, group_names, shown_panels
from senet.report.parts import PartTable, part_tables
from senet.report.svg import series
from senet.report.task_curves import task_charts
from senet.report.title import data_title, title
from senet.results.comparison import Result, VariantResult
from senet.results.summary import interval, verdict
from senet.results.tables import NONE

HIGHEST = {"%": 100.0}
"""Unit of a metric -> the largest possible value, where there is one."""


@dataclass(frozen=True)
class TableRow:
    """One line of the table, as text."""

    label: str
    colour: str
    value: str
    difference: str
    interval: str
    best: str
    loss: str
    costs: tuple[tuple[str, str], ...]


def render(result: Result) -> str:
    """Return the report as one HTML document without scripts, fonts or links to anything outside."""
    sentence, _, rest = result.summary.partition(". ")
    metric = result.primary
    gated = [variant for variant in result.variants if variant.excitations]
    return document(
        "page.html",
        title=title(result),
        data_title=data_title(result),
        verdict=verdict(result),
        headline=f"{sentence}." if rest else sentence,
        details=rest,
        result=result,
        metric=metric,
        heading=_capital(metric.heading),
        rows=[_row(result, place, variant) for place, variant in enumerate(result.variants)],
        differences=markup(difference_chart(result)),
        learning=[
            markup(learning_chart(result, metric.column, f"Validation {metric.heading}", ceiling=HIGHEST.get(metric.unit, inf))),
            markup(learning_chart(result, "val_loss", "Validation loss", floor=0.0)),
        ],
        costs=markup(cost_chart(result)),
        curves=[
            {"heading": one.heading, "chart": markup(one.chart), "parts": [markup(part) for part in one.parts], "left_out": one.left_out}
            for one in task_charts(result)
        ],
        parts=[_parts(tables) for tables in part_tables(result)],
        absent=NONE,
        cases=shown_cases(result),
        by_class=any(group_names(variant.excitations, result.data.classes) != ALL_IMAGES for variant in gated)
        or bool(result.data.classes and not gated),
        weighted=any(panel.weighted for variant in gated for panel in variant.excitations),
        excitations=[shown_panels(variant.excitations, result.data.classes, variant.label) for variant in gated],
        notes=notes(result),
        recipe=yaml.safe_dump(result.recipe.to_dict(), sort_keys=False),
        changes={variant.label: _changes(variant.changes) for variant in result.variants},
    )


def notes(result: Result) -> list[str]:
    """Return how the numbers came about and what they leave out, in sentences."""
    seeds, metric = len(result.seeds), result.primary
    what = "accuracy" if metric.accuracy else "value"
    said = [
        f"{_capital(metric.title)} is the validation {what} after the last epoch; no epoch was chosen by looking at it. "
        "The best epoch is given beside it."
    ]
    if metric.accuracy:
        said.append(f"One validation image is {HIGHEST.get(metric.unit, 1.0) / result.data.val_images:.2g} {metric.scale}.")
    if seeds > 1:
        said.append(
            "± is the standard deviation over seeds. A difference is paired: the same seed gives every variant the same images in the same "
            "order. Its 95 % interval is Student's t over the seeds: it covers the chance in training, "
            "not the choice of the validation images."
        )
    if any(variant.changes.get("model.compress", "none") != "none" for variant in result.variants):
        said.append(
            "Networks are compressed by training images without augmentation, and never by validation images; each begins from the best "
            "weights of the network that the same seed trained uncompressed, or from the trained weights that the recipe names. The epochs "
            "that each was fine-tuned are those of its curve."
        )
    if len(result.differences) > 1 and seeds > 1:
        said.append(
            f"Each interval stands for itself: among {len(result.differences)}, one may exclude 0 by chance more easily than 1 in 20."
        )
    return said


def _row(result: Result, place: int, variant: VariantResult) -> TableRow:
    difference, metric = result.differences.get(variant.label), result.primary
    return TableRow(
        label=variant.label,
        colour=series(place),
        value=mean_sd(variant.last(metric.column), metric.decimals),
        difference="baseline" if difference is None else metric.signed(difference.mean),
        interval="" if difference is None else "no interval" if difference.low is None else interval(difference, metric),
        best=mean_sd([run.best(metric) for run in variant.runs], metric.decimals),
        loss=f"{fmean(variant.last('val_loss')):.3f}",
        costs=tuple((cost.figure, cost.words if difference else "") for cost in variant.cost.rows(result.baseline.cost)),
    )


def _parts(tables: Sequence[PartTable]) -> dict[str, Any]:
    first, *others = tables
    return {"first": first, "chart": None if first.chart is None else markup(first.chart), "others": others}


def _changes(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}: {'null' if value is None else value}" for path, value in changes.items())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
