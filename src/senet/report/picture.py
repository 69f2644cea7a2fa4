"""A drawing as a file of its own: an SVG that carries its colours and type, in the reader's light or dark scheme."""

from importlib.resources import files
from pathlib import Path

from senet.atomic import write_text
from senet.report.svg import Drawing, element, number

MARGIN = 14.0
"""Pixels of paper on each side."""


def write_picture(drawing: Drawing, path: str | Path) -> None:
    """Write a drawing as an SVG file, or replace one; the same drawing gives the same bytes."""
    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    style = files("senet.report").joinpath("chart.css").read_text(encoding="utf-8")
    paper = element("rect", width=width, height=height, class_="paper")
    size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
    place = f'x="{number(MARGIN)}" y="{number(MARGIN)}" width="{number(drawing.width)}" height="{number(drawing.height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>\n{style}</style>\n{paper}\n'
    write_text(path, f"{head}<svg {place}>{drawing}</svg>\n</svg>\n")
