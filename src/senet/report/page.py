"""Put the page together: sentences, table and figures of a result in one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from senet.measuring.numbers import mean_sd
from senet.recipe.tree import ROOT_DECIDES
from senet.report.cases import shown_cases
from senet.report.costs import cost_chart
from senet.report.curves import learning_chart
from senet.report.differences import difference_chart
from senet.report.excitations import class_chart, gate_range, spread_chart
from senet.report.parts import PartTable, part_tables
from senet.report.svg import Drawing, series
from senet.report.task_curves import task_charts
from senet.results.comparison import Result, VariantResult
from senet.results.summary import interval, verdict
from senet.results.tables import NONE
from senet.text import printable_lines

if TYPE_CHECKING:
    from senet.analysis.excitation import Panel

ALL_IMAGES = ("all images",)
"""Names of the groups whose gates are told apart, where images have no classes."""

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
    environment = Environment(
        loader=PackageLoader("senet.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sentence, _, rest = result.summary.partition(". ")
    metric = result.primary
    gated = [variant for variant in result.variants if variant.excitations]
    return environment.get_template("page.html").render(
        title=title(result),
        data_title=data_title(result),
        verdict=verdict(result),
        headline=f"{sentence}." if rest else sentence,
        details=rest,
        result=result,
        metric=metric,
        heading=_capital(metric.heading),
        rows=[_row(result, place, variant) for place, variant in enumerate(result.variants)],
        differences=_svg(difference_chart(result)),
        learning=[
            _svg(learning_chart(result, metric.column, f"Validation {metric.heading}", ceiling=HIGHEST.get(metric.unit, inf))),
            _svg(learning_chart(result, "val_loss", "Validation loss", floor=0.0)),
        ],
        costs=_svg(cost_chart(result)),
        curves=[
            {"heading": one.heading, "chart": _svg(one.chart), "parts": [_svg(part) for part in one.parts], "left_out": one.left_out}
            for one in task_charts(result)
        ],
        parts=[_parts(tables) for tables in part_tables(result)],
        absent=NONE,
        cases=shown_cases(result),
        by_class=any(_named_classes(result, variant.excitations) != ALL_IMAGES for variant in gated)
        or bool(result.data.classes and not gated),
        weighted=any(panel.weighted for variant in gated for panel in variant.excitations),
        excitations=[_excitations(result, variant) for variant in gated],
        notes=notes(result),
        recipe=yaml.safe_dump(result.recipe.to_dict(), sort_keys=False),
        changes={variant.label: _changes(variant.changes) for variant in result.variants},
        style=Markup(environment.get_template("style.css").render()),
    )


def title(result: Result) -> str:
    """Return the question that the comparison answers."""
    if len(result.variants) == 2 and result.baseline.label == "plain":
        return f"What does {result.variants[1].label} buy on {data_title(result)}?"
    fields = dict.fromkeys(path.rpartition(".")[2].replace("_", " ") for variant in result.variants for path in variant.changes)
    return f"What does the choice of {' and '.join(fields)} buy on {data_title(result)}?"


def data_title(result: Result) -> str:
    """Return what a reader knows the images by: the data set, or the folder of a source that only says how folders are laid out."""
    name, root = result.data.name, result.recipe.data.root
    return Path(root).name.strip(".") or name if root and name in ROOT_DECIDES else name


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


def _excitations(result: Result, variant: VariantResult) -> dict[str, Any]:
    names, gates = _named_classes(result, variant.excitations), gate_range(variant.excitations)
    return {
        "label": variant.label,
        "key": [(series(place), names[label]) for place, label in enumerate(variant.excitations[0].classes, 1)],
        "classes": [_svg(class_chart(panel, names, gates)) for panel in variant.excitations],
        "spread": [_svg(spread_chart(panel, names, gates)) for panel in variant.excitations],
    }


def _named_classes(result: Result, panels: "Sequence[Panel]") -> tuple[str, ...]:
    """Return the names of the classes by which gates are told apart; those of images that have none are recorded as class 0."""
    told_apart = any(panel.weighted or list(panel.classes) != [0] for panel in panels)
    return result.data.classes if told_apart else ALL_IMAGES


def _parts(tables: Sequence[PartTable]) -> dict[str, Any]:
    first, *others = tables
    return {"first": first, "chart": None if first.chart is None else _svg(first.chart), "others": others}


def _changes(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}: {'null' if value is None else value}" for path, value in changes.items())


def _shown(value: Any) -> Any:
    """Return what a template prints for a value: text without control characters, markup of this package as it is."""
    return value if isinstance(value, Markup) else printable_lines(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _svg(drawing: Drawing) -> Markup:
    return Markup(str(drawing))
