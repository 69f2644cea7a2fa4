"""The report's first figure: how far each variant is from the baseline, seed by seed."""

from collections.abc import Sequence

from senet.measuring.paired import Difference
from senet.report.svg import Drawing, Scale, fit, series, tick_label, tick_step
from senet.results.comparison import Result
from senet.results.metric import Metric
from senet.results.summary import interval

VARIANT_ROW = 64.0
"""Height of a variant with its seeds and labels."""
AXIS = {"%": "percentage points"}
"""Unit of a metric -> unit at the axis of its differences, where the two are not the same."""


def difference_chart(result: Result) -> Drawing:
    """Draw one row a variant: a dot a seed, their mean, and the 95 % interval where there is one."""
    rows = list(result.differences.items())
    base, metric = result.baseline.label, result.primary
    unit = AXIS.get(metric.unit, metric.unit)
    words = "; ".join(f"{label}: {_figures(difference, metric)}" for label, difference in rows)
    said = f"Difference in {metric.title}{metric.direction} to {base}{f', in {unit}' if unit else ''}"
    drawing = Drawing(460, 58 + VARIANT_ROW * len(rows), f"{said}. {words}.")

    ends = [value for _, d in rows for value in (0.0, *d.by_seed, d.low, d.high) if value is not None]
    pad = max(10.0 ** (1 - metric.decimals), 0.08 * (max(ends) - min(ends)))
    x, bottom = Scale(min(ends) - pad, max(ends) + pad, 0, 460), drawing.height - 36
    draw_axis(drawing, x, bottom, 6, base, metric)

    for row, (label, difference) in enumerate(rows):
        colour, y = series(row + 1), 60 + VARIANT_ROW * row
        drawing.text((0, y - 22), fit(label, 270), class_=f"label {colour}")
        drawing.text((460, y - 22), _figures(difference, metric), class_=f"label {colour} end")
        if difference.low is not None and difference.high is not None:
            drawing.line((x(difference.low), y), (x(difference.high), y), class_=f"interval {colour}")
        places = [x(value) for value in difference.by_seed]
        for seed, value, at, lane in zip(result.seeds, difference.by_seed, places, lanes(places), strict=True):
            drawing.add("circle", tip=f"seed {seed}: {metric.signed(value)}", cx=at, cy=y + 8.0 * lane, r=4.0, class_=f"seed {colour}")
        drawing.path([(x(difference.mean), y + dy) for dy in (-9, 9)], class_=f"mean {colour}")
    return drawing


def draw_axis(drawing: Drawing, x: Scale, bottom: float, ticks: int, base: str, metric: Metric) -> None:
    """Draw the axis of differences to a baseline, with about so many ticks."""
    step, unit = tick_step(x.high - x.low, ticks), AXIS.get(metric.unit, metric.unit)
    for tick in x.ticks(ticks):
        drawing.line((x(tick), 16), (x(tick), bottom), class_="zero" if tick == 0 else "grid")
        drawing.text((x(tick), bottom + 15), ("+" if tick > 0 else "") + tick_label(tick, step), class_="tick middle")
    drawing.text((x(0), 10), f"as {base}", class_="tick middle")
    drawing.text((x.end, drawing.height - 4), f"{unit and f'{unit} of '}{metric.title}{metric.direction}", class_="tick end")


def lanes(places: Sequence[float]) -> list[int]:
    """Return a lane for each circle, 0, 1, -1, 2, ..., so that circles at equal values lie beside each other and none is hidden."""
    chosen: list[int] = []
    for index, place in enumerate(places):
        taken = {lane for other, lane in zip(places[:index], chosen, strict=True) if abs(place - other) < 9}
        chosen.append(next(lane for lane in (0, *(sign * n for n in range(1, len(places) + 1) for sign in (1, -1))) if lane not in taken))
    return chosen


def _figures(difference: Difference, metric: Metric) -> str:
    rest = {"one seed": "one seed, no interval", "no spread": "no spread, no interval"}
    return f"{metric.signed(difference.mean)} ({rest.get(difference.finding) or interval(difference, metric)})"
