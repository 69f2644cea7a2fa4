"""The cost figure: each variant's parameters, MACs, latency and training step as multiples of the baseline's."""

from senet.measuring.numbers import TIMES
from senet.report.svg import Drawing, Scale, fit, series, tick_label, tick_step
from senet.results.comparison import Result

STEM_ROW = 26.0
"""Height of a stem with its labels."""


def cost_chart(result: Result) -> Drawing:
    """Draw a stem from 1x, the baseline, to each ratio; a whisker spans the quartiles of a measured one."""
    rows = {variant.label: variant.cost.rows(result.baseline.cost) for variant in result.variants[1:]}
    words = "; ".join(f"{label}: {', '.join(f'{cost.title} {cost.words}' for cost in row)}" for label, row in rows.items())
    quantities = [cost.title for cost in next(iter(rows.values()))]
    single = len(rows) == 1
    group = STEM_ROW if single else 24 + STEM_ROW * len(rows)
    drawing = Drawing(460, 24 + group * len(quantities) + 26, f"Cost as a multiple of {result.baseline.label}. {words}.")

    ends = [1.0, *(end for row in rows.values() for cost in row for end in (cost.ratio, cost.low, cost.high))]
    pad = max(0.02, 0.06 * (max(ends) - min(ends)))
    x, bottom = Scale(min(ends) - pad, max(ends) + pad, 144, 380), drawing.height - 22
    step = tick_step(x.high - x.low, 4)
    for tick in x.ticks(4):
        drawing.line((x(tick), 16), (x(tick), bottom), class_="zero" if tick == 1 else "grid")
        drawing.text((x(tick), bottom + 16), f"{tick_label(tick, step)}{TIMES}", class_="tick middle")
    drawing.text((x(1), 10), f"as {result.baseline.label}", class_="tick middle")

    for quantity, what in enumerate(quantities):
        top = 24 + group * quantity
        if not single:
            drawing.text((0, top + 20), what, class_="label")
        for place, (label, row) in enumerate(rows.items()):
            cost, colour = row[quantity], series(place + 1)
            y = top + (0 if single else 24) + STEM_ROW * (place + 0.5)
            drawing.text((0, y + 4), what if single else fit(label, 136), class_="label" if single else f"label {colour}")
            drawing.line((x(1), y), (x(cost.ratio), y), class_=f"stem {colour}")
            drawing.line((x(cost.low), y), (x(cost.high), y), class_=f"whisker {colour}")
            drawing.add("circle", tip=f"{label}: {cost.words}", cx=x(cost.ratio), cy=y, r=4.5, class_=f"dot {colour}")
            drawing.text((460, y + 4), cost.words, class_=f"label {colour} end")
    return drawing
