"""What becomes of objects and boxes, as marks on an image: no two differ by colour alone, but by line style and sign as well."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from senet.data.masks import Colour


@dataclass(frozen=True)
class Outcome:
    """Fate of an object or a box.

    Args:
        meaning: in words, with the sign.
        colour: of its lines.
        dashes: pixels that are drawn and left out in turn; (1, 0) = a solid line.
        width: of its lines in pixels.
        sign: lines from 0 to 1 in a square, beside the upper left corner.
    """

    meaning: str
    colour: Colour
    dashes: tuple[int, int] = (1, 0)
    width: int = 2
    sign: tuple[tuple[float, float, float, float], ...] = ()


_ACROSS, _DOWN = (0.0, 0.5, 1.0, 0.5), (0.5, 0.0, 0.5, 1.0)
_DIAGONALS = ((0.0, 0.0, 1.0, 1.0), (0.0, 1.0, 1.0, 0.0))

FOUND = Outcome("found: thin line", (0, 114, 178), width=1)
OVERLOOKED = Outcome("missed: thin dashes", (20, 20, 20), dashes=(4, 3), width=1)
GAINED = Outcome("gained, found here and not by the first variant: thick line, +", (0, 158, 115), width=3, sign=(_ACROSS, _DOWN))
LOST = Outcome("lost, found by the first variant and not here: thick dashes, \N{MINUS SIGN}", (230, 97, 1), (7, 4), 3, (_ACROSS,))
WRONG = Outcome("wrong, a box that matches nothing: dots, \N{MULTIPLICATION SIGN}", (170, 51, 119), (2, 3), 2, _DIAGONALS)

SIGN = 7
"""Pixels of the side of a sign."""


def draw_outcomes(image: Image.Image, outcomes: Sequence[tuple[Outcome, np.ndarray]], scale: float) -> Image.Image:
    """Return an image in pale grey with boxes drawn by what becomes of them, later ones on top.

    Args:
        image: of any mode.
        outcomes: of each kind the boxes, (n, 4) left, top, right, bottom.
        scale: pixels of the image for a pixel of the boxes.
    """
    drawn = Image.fromarray(np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2) // 3 + 160)
    for outcome, boxes in outcomes:
        for box in (boxes * scale).round().astype(int).tolist():
            _draw(drawn, outcome, box)
    return drawn


def _draw(image: Image.Image, outcome: Outcome, box: Sequence[int]) -> None:
    """Draw one box and, at its upper left corner inside the image, its sign on white; in place."""
    pen, width = ImageDraw.Draw(image), outcome.width
    left, top = (max(0, min(start, side - 1)) for start, side in zip(box, image.size, strict=False))
    right, bottom = min(image.width, max(box[2], left + 1)), min(image.height, max(box[3], top + 1))
    for x0, y0, x1, y1 in _dashes((left, top, right, bottom), outcome.dashes, width):
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=outcome.colour)
    if outcome.sign:
        x, y = min(left, image.width - SIGN - 4), min(top, image.height - SIGN - 4)
        pen.rectangle((x, y, x + SIGN + 3, y + SIGN + 3), fill="white")
        for x0, y0, x1, y1 in outcome.sign:
            pen.line(
                [2 + value + place * (SIGN - 1) for value, place in ((x, x0), (y, y0), (x, x1), (y, y1))], fill=outcome.colour, width=2
            )


def _dashes(box: tuple[int, int, int, int], dashes: tuple[int, int], width: int) -> list[tuple[int, int, int, int]]:
    """Return the rectangles of which the four sides consist, inside the box."""
    left, top, right, bottom = box
    wide, high = min(width, right - left), min(width, bottom - top)
    on, off = dashes

    def pieces(start: int, end: int) -> list[tuple[int, int]]:
        return [(at, min(at + on, end)) for at in range(start, end, on + off)] if off else [(start, end)]

    across = [(start, y, end, y + high) for start, end in pieces(left, right) for y in (top, bottom - high)]
    return across + [(x, start, x + wide, end) for start, end in pieces(top, bottom) for x in (left, right - wide)]
