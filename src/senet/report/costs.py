"""The cost figure: each variant's parameters, MACs, latency and training step as multiples of the baseline's."""

from senet.measuring.numbers import TIMES, change, factor
from senet.report.svg import Drawing, Scale, fit, series, tick_label, tick_step
from senet.results.comparison import Cost, Result

ROW = 26.0


def ratios(cost: Cost, base: Cost) -> dict[str, tuple[float, float, float]]:
    """Return what is compared -> (ratio, lower quartile, upper quartile); counts have no spread."""
    params, macs = cost.params / base.params, cost.macs / base.macs
    latency, step = cost.latency_ratio, cost.step_ratio
    return {
        "Parameters": (params, params, params),
        "MACs": (macs, macs, macs),
        "Latency": (latency.median, latency.low, latency.high),
        "Training step": (step.median, step.low, step.high),
    }


def cost_chart(result: Result) -> Drawing:
    """Draw a stem from 1x, the baseline, to each ratio; a whisker spans the quartiles of a measured one."""
    rows = {variant.label: ratios(variant.cost, result.baseline.cost) for variant in result.variants[1:]}
    words = "; ".join(f"{label}: {', '.join(f'{what} {figure(what, r[0])}' for what, r in row.items())}" for label, row in rows.items())
    quantities = list(next(iter(rows.values())))
    single = len(rows) == 1
    group = ROW if single else 24 + ROW * len(rows)
    drawing = Drawing(460, 24 + group * len(quantities) + 26, f"Cost as a multiple of {result.baseline.label}. {words}.")

    ends = [1.0, *(end for row in rows.values() for ratio in row.values() for end in ratio)]
    pad = max(0.02, 0.06 * (max(ends) - min(ends)))
    x, bottom = Scale(min(ends) - pad, max(ends) + pad, 144, 380), drawing.height - 22
    step = tick_step(x.high - x.low, 4)
    for tick in x.ticks(4):
        drawing.line((x(tick), 16), (x(tick), bottom), class_="zero" if tick == 1 else "grid")
        drawing.text((x(tick), bottom + 16), f"{tick_label(tick, step)}{TIMES}", class_="tick middle")
    drawing.text((x(1), 10), f"as {result.baseline.label}", class_="tick middle")

    for block, what in enumerate(quantities):
        top = 24 + group * block
        if not single:
            drawing.text((0, top + 20), what, class_="label")
        for place, (label, row) in enumerate(rows.items()):
            (ratio, low, high), colour = row[what], series(place + 1)
            y = top + (0 if single else 24) + ROW * (place + 0.5)
            drawing.text((0, y + 4), what if single else fit(label, 136), class_="label" if single else f"label {colour}")
            drawing.line((x(1), y), (x(ratio), y), class_=f"stem {colour}")
            drawing.line((x(low), y), (x(high), y), class_=f"whisker {colour}")
            drawing.add("circle", tip=f"{label}: {figure(what, ratio)}", cx=x(ratio), cy=y, r=4.5, class_=f"dot {colour}")
            drawing.text((460, y + 4), figure(what, ratio), class_=f"label {colour} end")
    return drawing


def figure(what: str, ratio: float) -> str:
    """Write a ratio: counts are exact and often tiny, measured ones have two decimals."""
    return change(ratio) if what in ("Parameters", "MACs") else factor(ratio)
