"""Curves that a task tells, as the page shows them: of each chart the curve of all large, those of parts small."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from senet.report.curves import MeanCurve, draw_mean_curves, mean_curve
from senet.report.svg import Drawing, Scale, tick_label, tick_step
from senet.results.comparison import Result, VariantResult
from senet.results.curves import CurveChart

CHARTED_LINES = 24
"""Curves of parts up to which each is drawn; of more result.json tells."""


@dataclass(frozen=True)
class TaskChart:
    """Chart of a task on the page.

    Args:
        heading: what it shows.
        chart: its first curve, of every variant.
        parts: its other curves, likewise; empty of too many.
        left_out: how many other curves are not drawn.
    """

    heading: str
    chart: Drawing
    parts: tuple[Drawing, ...]
    left_out: int


def task_charts(result: Result) -> list[TaskChart]:
    """Return a chart of the page for each that every run tells."""
    runs = [run for variant in result.variants for run in variant.runs]
    charts = []
    for name, chart in runs[0].curves.items():
        told = [run.curves[name] for run in runs if name in run.curves and run.curves[name].at == chart.at]
        first, *others = [line for line in chart.lines if all(line in one.lines for one in told)] or [""]
        if len(told) < len(runs) or not first:
            continue
        drawn = others if len(others) <= CHARTED_LINES else []
        heading = f"{chart.y.partition(' %')[0].capitalize()} over {chart.x.partition(' %')[0]}, {name}"
        parts = tuple(task_chart(result, name, line) for line in drawn)
        charts.append(TaskChart(heading, task_chart(result, name, first), parts, len(others) - len(drawn)))
    return charts


def task_chart(result: Result, name: str, line: str) -> Drawing:
    """Draw one curve of a chart for every variant: the mean over seeds, and the lowest and the highest seed as a band."""
    curves = {variant.label: _over_seeds(variant, name, line) for variant in result.variants}
    chart = result.variants[0].runs[0].curves[name]
    words = "; ".join(f"{label} {fmean(curve.mean):.3g} on average" for label, curve in curves.items())
    drawing = Drawing(460, 300, f"{chart.y} over {chart.x}, {name}, {line}, mean and range of {len(result.seeds)} seeds: {words}.")
    low, high = _y_range(chart, list(curves.values()))
    x, y = Scale(chart.at[0], chart.at[-1], 44, 440), Scale(low, high, 262, 30)
    step, steps = tick_step(high - low, 5), tick_step(x.high - x.low, 5)
    for tick in y.ticks(5):
        drawing.line((x.start, y(tick)), (x.end, y(tick)), class_="grid")
        drawing.text((x.start - 8, y(tick) + 4), tick_label(tick, step), class_="tick end")
    for tick in x.ticks(5):
        drawing.text((x(tick), 280), tick_label(tick, steps), class_="tick middle")
    drawing.text((x.end, 297), chart.x, class_="tick end")
    drawing.text((0, 12), f"{chart.y}: {line}", class_="heading")
    draw_mean_curves(drawing, x, y, chart.at, list(curves.values()), bands=len(result.seeds) > 1)
    return drawing


def _over_seeds(variant: VariantResult, name: str, line: str) -> MeanCurve:
    return mean_curve([run.curves[name].lines[line] for run in variant.runs])


def _y_range(chart: CurveChart, curves: Sequence[MeanCurve]) -> tuple[float, float]:
    """Return the range of the vertical axis: of shares the whole, else what the curves fill."""
    low, high = min(min(curve.low) for curve in curves), max(max(curve.high) for curve in curves)
    if chart.y.endswith("%") and 0 <= low <= high <= 100:
        return 0.0, 100.0
    step = tick_step(max(high - low, 0.01 * abs(high)), 5)
    bottom, top = step * math.floor(low / step), step * math.ceil(high / step)
    return (bottom, top) if top > bottom else (bottom - step, top)
