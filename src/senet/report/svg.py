"""Write SVG by hand: elements, scales and ticks. Colours and type are left to the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from senet.text import printable_lines

Point = tuple[float, float]

LETTER = 8.2
"""A generous width of a letter in a chart, in pixels of the view box: the font is the reader's own."""

COLOURS = 7
"""How many colours the style sheet has."""


def series(place: int) -> str:
    """Return the style class of a variant or a class of images: s0 is the baseline's; beyond the last colour the others come again."""
    return f"s{place if place < COLOURS else 1 + (place - 1) % (COLOURS - 1)}"


@dataclass(frozen=True)
class Scale:
    """Linear map from values of data to pixels.

    Args:
        low: the value at pixel `start`.
        high: the value at pixel `end`.
        start: first pixel.
        end: last pixel.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5, *, whole: bool = False) -> list[float]:
        """Return round values inside the scale, about so many."""
        step = tick_step(self.high - self.low, about, whole=whole)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]


class Drawing:
    """One figure: its elements, written as SVG with an alternative in words.

    Args:
        width: width of the view box, in CSS pixels at natural size.
        height: its height.
        alternative: what the figure shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, alternative: str) -> None:
        self.width, self.height, self.alternative = width, height, alternative
        self._parts: list[str] = []

    def add(self, tag: str, content: str = "", *, tip: str = "", **attributes: object) -> None:
        """Add an element with text, or with a tip that a pointer shows; `class_` becomes class."""
        self._parts.append(element(tag, f"<title>{escape(tip)}</title>" if tip else escape(content), **attributes))

    def window(self, x: Scale, y: Scale) -> None:
        """Begin a part in which nothing is drawn above or below the axes; `end_window` ends it.

        It is a nested <svg>: a clip path would need an id that is unique on the page.
        """
        top, height = min(y.start, y.end) - 2, abs(y.start - y.end) + 4
        box = f"0 {number(top)} {number(x.end + 2)} {number(height)}"
        self._parts.append(f'<svg x="0" y="{number(top)}" width="{number(x.end + 2)}" height="{number(height)}" viewBox="{box}">')

    def end_window(self) -> None:
        """End the part that `window` began."""
        self._parts.append("</svg>")

    def line(self, start: Point, end: Point, *, class_: str) -> None:
        """Add a straight line."""
        self.add("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)

    def path(self, points: Sequence[Point], *, class_: str, closed: bool = False) -> None:
        """Add a line through the points, or the area that they enclose."""
        steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        self.add("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)

    def text(self, at: Point, content: str, *, class_: str) -> None:
        """Add a line of text."""
        self.add("text", content, x=at[0], y=at[1], class_=class_)

    def __str__(self) -> str:
        head = f'<svg role="img" viewBox="0 0 {number(self.width)} {number(self.height)}" aria-label="{escape(self.alternative)}">'
        return printable_lines(head + "".join(self._parts) + "</svg>")


def fit(text: str, width: float) -> str:
    """Cut a text that would be wider than so many pixels; the table has it in full."""
    letters = int(width / LETTER)
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def element(tag: str, content: str = "", **attributes: object) -> str:
    """Write one element; numbers are rounded to a hundredth of a pixel."""
    written = "".join(
        f' {name.rstrip("_")}="{number(value) if isinstance(value, float) else escape(str(value))}"' for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def number(value: float) -> str:
    """Write a coordinate without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def tick_step(span: float, about: int, *, whole: bool = False) -> float:
    """Return 1, 2 or 5 times a power of ten that cuts the span into about so many parts."""
    rough = max(span, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if rough <= factor * power * 1.0001)
    return max(1.0, step) if whole else step


def tick_label(value: float, step: float) -> str:
    """Write a tick with as many decimals as the step between ticks needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def separate_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions as little as a single sweep can so that neighbours are at least `gap` apart, inside low..high."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = list(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
