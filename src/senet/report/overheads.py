"""What a block costs on each engine: recalibrated over plain, in per cent, as bars."""

from collections.abc import Mapping, Sequence

from senet.benchmarking.result import CLOCKS, Comparison
from senet.errors import UsageError
from senet.measuring.numbers import signed
from senet.measuring.timing import Ratio
from senet.report.svg import LETTER, Drawing, Scale, tick_label, tick_step

SENET_FORMS = ("fused", "compiled-fused", "optimised", "onnxruntime", "openvino", "cpp", "triton")
"""The engines that run what this package makes of a network; the others run the definition, or another library's network."""
OURS, OTHERS = "s2", "s1"
"""Colours of the two kinds of engine: they differ in lightness too, and every bar is named beside it."""
WIDTH, PITCH, HEADING, GAP = 760.0, 26.0, 24.0, 16.0


def overheads_chart(comparisons: Sequence[Comparison]) -> Drawing:
    """Draw one bar an engine, grouped by what was measured: how much longer the recalibrated network takes than its plain twin.

    Whiskers span the quartiles over rounds.

    Args:
        comparisons: what was measured; those that pair no functions are left out.

    Raises:
        UsageError: if nothing is paired.
    """
    paired = [comparison for comparison in comparisons if comparison.pairs]
    if not paired:
        raise UsageError("there is nothing to draw: the results pair no plain function with a recalibrated one")
    groups = [(_title(comparison), {engine: comparison.overhead(engine) for engine in comparison.pairs}) for comparison in paired]
    clocks = " or ".join(sorted({CLOCKS[comparison.clock] for comparison in paired}))
    caption = f"% more {clocks} time than the plain network on the same engine; whiskers span the quartiles"
    words = "; ".join(f"{title}: {_sentence(bars)}" for title, bars in groups)
    height = 30 + sum(HEADING + PITCH * len(bars) + GAP for _, bars in groups) + 44
    drawing = Drawing(WIDTH, height, f"{caption}. {words}.")

    x = _scale(groups)
    top = 30.0
    for title, bars in groups:
        drawing.text((0, top + 14), title, class_="heading")
        top += HEADING
        _bars(drawing, x, top, bars)
        top += PITCH * len(bars) + GAP
    step = tick_step(x.high - x.low, 6)
    for tick in x.ticks(6):
        drawing.text((x(tick), top + 4), tick_label(tick, step), class_="tick middle")
    drawing.text((WIDTH, top + 30), caption, class_="tick end")
    _key(drawing)
    return drawing


def _bars(drawing: Drawing, x: Scale, top: float, bars: Mapping[str, Ratio]) -> None:
    """Draw one group downwards: its part of the grid, and a line an engine with its name, bar, whisker and figure."""
    bottom = top + PITCH * len(bars)
    for tick in x.ticks(6):
        drawing.line((x(tick), top), (x(tick), bottom), class_="zero" if tick == 0 else "grid")
    for place, (engine, found) in enumerate(bars.items()):
        y = top + PITCH * (place + 0.5)
        middle, low, high = (_percent(value) for value in (found.median, found.low, found.high))
        left, right = sorted((x(0), x(middle)))
        colour, tip = OURS if engine in SENET_FORMS else OTHERS, f"{engine}: {_figure(found)}"
        drawing.add("rect", tip=tip, x=left, y=y - 9, width=right - left, height=18.0, class_=f"bar {colour}")
        drawing.line((x(low), y), (x(high), y), class_="quartiles")
        for end in (low, high):
            drawing.line((x(end), y - 4), (x(end), y + 4), class_="quartiles")
        drawing.text((x.start - 12, y + 5), engine, class_="end")
        drawing.text((x(max(high, middle, 0)) + 8, y + 5), signed(middle, 1), class_="label")


def _key(drawing: Drawing) -> None:
    at = 0.0
    for colour, words in ((OURS, "forms that this package makes"), (OTHERS, "the definition, and other libraries")):
        drawing.add("rect", x=at, y=2.0, width=20.0, height=11.0, class_=f"bar {colour}")
        drawing.text((at + 28, 12), words, class_="tick")
        at += 28 + LETTER * len(words)


def _scale(groups: Sequence[tuple[str, Mapping[str, Ratio]]]) -> Scale:
    ends = [0.0, *(_percent(end) for _, bars in groups for found in bars.values() for end in (found.low, found.median, found.high))]
    names = max(len(engine) for _, bars in groups for engine in bars)
    figures = max(len(signed(_percent(found.median), 1)) for _, bars in groups for found in bars.values())
    pad = 0.01 * (max(ends) - min(ends) or 1)
    return Scale(min(ends) - pad, max(ends) + pad, 12 + LETTER * names, WIDTH - 8 - LETTER * figures)


def _title(comparison: Comparison) -> str:
    kinds = sorted({name.partition(" ")[0] for name, _ in comparison.pairs.values()} - {"se"})
    return f"{comparison.about} ({', '.join(kinds)})" if kinds else comparison.about


def _sentence(bars: Mapping[str, Ratio]) -> str:
    return ", ".join(f"{engine} {_figure(found)}" for engine, found in bars.items())


def _figure(found: Ratio) -> str:
    middle, low, high = (signed(_percent(value), 1) for value in (found.median, found.low, found.high))
    return f"{middle} % ({low} to {high})"


def _percent(ratio: float) -> float:
    return (ratio - 1) * 100
