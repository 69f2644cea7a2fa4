"""What each block of a network is worth: the metric lost when its gates are frozen, as dots with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from senet.report.gate_variation import BLOCK_CHART, BLOCK_NAMES
from senet.report.svg import LETTER, Drawing, fit, series
from senet.results.gate_analysis import TITLES, GateAnalysis

MODE_LINE = 15.0
"""Height of a mode's line."""


@dataclass(frozen=True)
class SymmetricLog:
    """Map from values of either sign to pixels: linear up to `linear`, logarithmic beyond, so that 0.05 and 50 are both seen.

    Args:
        linear: size of a value up to which the scale is about linear.
        low: value at pixel `start`.
        high: value at pixel `end`.
        start: first pixel.
        end: last pixel.
    """

    linear: float
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        first, last = self._bent(self.low), self._bent(self.high)
        return self.start + (self._bent(value) - first) / (last - first) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return 0 and the powers of ten, of either sign, from `linear` on, that lie on the scale."""
        powers = range(round(math.log10(self.linear)), math.ceil(math.log10(max(abs(self.low), abs(self.high)))) + 1)
        values = [sign * 10.0**power for power in powers for sign in (-1, 1)]
        return sorted(value for value in (0.0, *values) if self.low <= value <= self.high)

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.linear)


def effects_chart(analysis: GateAnalysis) -> Drawing:
    """Draw the points lost by freezing each block, one line a mode; a bar is the 95 % interval over images."""
    effects, modes, digits = analysis.effects, analysis.modes, analysis.metric.decimals
    unit = next(loss.unit for effect in effects for loss in effect.losses.values())
    found = [(effect, mode) for effect in effects for mode in modes]
    words = "; ".join(f"{effect.name}, {TITLES[mode]}: {effect.losses[mode].text(digits)}" for effect, mode in found)
    margin = min(BLOCK_NAMES, 14 + LETTER * max(len(effect.name) for effect in effects))
    block = 10 + MODE_LINE * len(modes)
    drawing = Drawing(BLOCK_CHART, 12 + block * len(effects) + 46, f"{analysis.metric.title} lost when gates are frozen. {words}.")
    x, bottom = _scale(analysis, margin), drawing.height - 40
    taken: list[float] = []
    for tick in sorted(x.ticks(), key=abs):
        drawing.line((x(tick), 8), (x(tick), bottom), class_="zero" if tick == 0 else "grid")
        if all(abs(x(tick) - other) > 5 * LETTER for other in taken):
            taken.append(x(tick))
            drawing.text((x(tick), bottom + 16), f"{tick:g}".replace("-", "\N{MINUS SIGN}"), class_="tick middle")
    drawing.text((BLOCK_CHART, bottom + 34), f"{unit or 'loss'} of {analysis.metric.title} lost", class_="tick end")
    for place, effect in enumerate(effects):
        top = 14 + block * place
        drawing.text((0, top + MODE_LINE * len(modes) / 2 + 4), fit(effect.name, margin), class_="label")
        for line, mode in enumerate(modes):
            loss, colour, y = effect.losses[mode], series(line + 1), top + MODE_LINE * (line + 0.5)
            if loss.low is not None and loss.high is not None:
                drawing.line((x(loss.low), y), (x(loss.high), y), class_=f"interval {colour}")
            tip = f"{effect.name}, {TITLES[mode]}: {' '.join(filter(None, loss.words(digits)))}"
            drawing.add("circle", tip=tip, cx=x(loss.points), cy=y, r=4.0, class_=f"dot {colour}")
    return drawing


def mode_key(modes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name of each mode with its colour."""
    return [(TITLES[mode], series(place)) for place, mode in enumerate(modes, 1)]


def _scale(analysis: GateAnalysis, margin: float) -> SymmetricLog:
    losses = [loss for effect in analysis.effects for loss in effect.losses.values()]
    ends = [end for loss in losses for end in (loss.points, loss.low, loss.high) if end is not None and math.isfinite(end)]
    linear = 10.0 ** (1 - analysis.metric.decimals)
    low, high = min(0.0, *ends), max(0.0, *ends)
    return SymmetricLog(linear, 1.2 * low - linear, 1.2 * high + linear, margin + 6, BLOCK_CHART - 10)
