"""Learning curves: the mean over seeds as a line, the lowest and the highest seed as a band."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from textwrap import wrap

from senet.report.svg import LETTER, Drawing, Scale, fit, separate_labels, series, tick_label, tick_step
from senet.results.comparison import Result, VariantResult

LABEL_LETTERS = 18
"""Letters in a line of a label at the end of a curve."""


@dataclass(frozen=True)
class MeanCurve:
    """One quantity of one variant, such as over epochs: its mean and extremes over seeds, at each place over those that reached it."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def mean_curve(runs: Sequence[Sequence[float]]) -> MeanCurve:
    """Summarise the values of runs, one sequence each, place by place."""
    places = [[values[place] for values in runs if place < len(values)] for place in range(max(map(len, runs)))]
    return MeanCurve(tuple(map(fmean, places)), tuple(map(min, places)), tuple(map(max, places)))


def learning_curve(variant: VariantResult, column: str) -> MeanCurve:
    """Summarise a column of the runs' metrics epoch by epoch."""
    return mean_curve([run.history[column] for run in variant.runs])


def axis_range(curves: Sequence[MeanCurve], *, floor: float | None = None, ceiling: float = math.inf) -> tuple[float, float]:
    """Return a range for the axis that shows what happens after the first fifth of the training.

    Accuracies that begin at chance and end within a point of each other would be one line on an axis that holds both.

    Args:
        curves: what is drawn.
        floor: where the axis begins if no value after the first fifth is below; None = at the lowest of those, rounded down.
        ceiling: the largest possible value.
    """
    low = min(min(c.low[len(c.low) // 5 :]) for c in curves)
    floor = None if floor is None or low < floor else floor
    low = low if floor is None else floor
    high = max(max(c.high[len(c.high) // 5 :]) for c in curves)
    step = tick_step(max(high - low, 0.01 * abs(high)), 5)
    bottom = step * math.floor(low / step + 1e-9) if floor is None else floor
    top = min(ceiling, step * math.ceil(high / step - 1e-9))
    return (bottom, top) if top > bottom else (bottom - step, top)


def learning_chart(result: Result, column: str, title: str, *, floor: float | None = None, ceiling: float = math.inf) -> Drawing:
    """Draw one column of metrics.csv for every variant, labelled at the end of its line; the axis is `axis_range`'s."""
    curves = {variant.label: learning_curve(variant, column) for variant in result.variants}
    low, high = axis_range(list(curves.values()), floor=floor, ceiling=ceiling)
    ends = "; ".join(f"{label} ends at {c.mean[-1]:.3g} ({c.low[-1]:.3g} to {c.high[-1]:.3g})" for label, c in curves.items())
    epochs = max(len(c.mean) for c in curves.values())
    drawing = Drawing(460, 300, f"{title} over {epochs} epochs, mean and range of {len(result.seeds)} seeds: {ends}.")

    labels = {label: [fit(line, LABEL_LETTERS * LETTER) for line in wrap(label, LABEL_LETTERS, break_on_hyphens=False)] for label in curves}
    margin = 12 + LETTER * max(len(line) for lines in labels.values() for line in lines)
    x, y = Scale(1, max(epochs, 2), 40, 460 - margin), Scale(low, high, 262, 30)
    step = tick_step(high - low, 5)
    for tick in y.ticks(5):
        drawing.line((x.start, y(tick)), (x.end, y(tick)), class_="grid")
        drawing.text((x.start - 8, y(tick) + 4), tick_label(tick, step), class_="tick end")
    for tick in sorted({1.0, *x.ticks(5, whole=True)} - {0.0}):
        drawing.text((x(tick), 280), f"{tick:.0f}", class_="tick middle")
    drawing.text((x.end, 297), "epoch", class_="tick end")
    drawing.text((0, 12), title, class_="heading")

    draw_mean_curves(drawing, x, y, range(1, epochs + 1), list(curves.values()), bands=len(result.seeds) > 1)
    for place, c in enumerate(curves.values()):
        if len(c.mean) == 1:  # a line of one point cannot be seen, nor a band
            at = x(1) + 10.0 * place
            drawing.line((at, y(max(c.low[0], low))), (at, y(min(c.high[0], high))), class_=f"stem {series(place)}")
            drawing.add("circle", tip=f"{c.mean[0]:.3g}", cx=at, cy=y(min(max(c.mean[0], low), high)), r=4.0, class_=f"dot {series(place)}")

    wanted = [y(min(max(c.mean[-1], low), high)) for c in curves.values()]
    gap = 16.0 * max(len(lines) for lines in labels.values())
    for place, (label, at) in enumerate(zip(curves, separate_labels(wanted, gap, 36, 262), strict=True)):
        for line, words in enumerate(labels[label]):
            drawing.text((x.end + 10, at + 4 + 14 * line), words, class_=f"label {series(place)}")
    return drawing


def draw_mean_curves(drawing: Drawing, x: Scale, y: Scale, at: Sequence[float], curves: Sequence[MeanCurve], *, bands: bool) -> None:
    """Draw curves over the first places that each has, and behind all of them, if asked for, from the lowest to the highest as bands."""

    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(x(place), y(value)) for place, value in zip(at, values, strict=False)]

    drawing.window(x, y)
    for number, curve in enumerate(curves if bands else ()):
        drawing.path([*points(curve.high), *reversed(points(curve.low))], closed=True, class_=f"band {series(number)}")
    for number, curve in enumerate(curves):
        drawing.path(points(curve.mean), class_=f"curve {series(number)}")
    drawing.end_window()
