"""The gates of positions in every block of a network, as heat maps of one image on one sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from senet.analysis.heat_map import heat_colours, heat_map
from senet.analysis.spatial import SpatialGates
from senet.text import printable

TILE = 256
"""Longest side of a picture on the sheet, in pixels."""
SHEET_COLUMNS, TILE_GAP, CAPTION_LINE = 4, 12, 12
"""Pictures in a row; pixels between pictures, and of a line of text."""
LETTER_WIDTH = 6
"""Pixels of a letter's width."""


def gate_sheet(image: Image.Image, recorded: Sequence[SpatialGates], index: int = 0) -> Image.Image:
    """Return an image in RGB with one heat map a block, named, beside the image itself, and the scale of the colours below.

    Args:
        image: what the network saw.
        recorded: what `record_spatial_gates` returned.
        index: number of the image among those that were recorded.
    """
    shown = _as_tile(image)
    tiles = [(shown, ["image", f"{image.width} x {image.height}", ""])]
    tiles += [(heat_map(shown, gates), _caption(block, gates)) for block in recorded for gates in [block.map(index)]]
    width, height = max(shown.width, 32 * LETTER_WIDTH) + TILE_GAP, shown.height + 3 * CAPTION_LINE + TILE_GAP
    columns = min(SHEET_COLUMNS, len(tiles))
    sheet = Image.new("RGB", (TILE_GAP + columns * width, TILE_GAP + -(-len(tiles) // columns) * height + 3 * CAPTION_LINE), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (tile, lines) in enumerate(tiles):
        left, top = TILE_GAP + place % columns * width, TILE_GAP + place // columns * height
        sheet.paste(tile, (left, top))
        for row, line in enumerate(lines):
            pen.text((left, top + tile.height + row * CAPTION_LINE), _fit(line, width - TILE_GAP), fill="black")
    _draw_scale(sheet, pen)
    return sheet


def _as_tile(image: Image.Image) -> Image.Image:
    share = TILE / max(image.size)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if share > 1 else Image.Resampling.BICUBIC)


def _caption(block: SpatialGates, gates: np.ndarray) -> list[str]:
    path = printable(block.path)
    named = [block.name, path] if block.name != block.path else [path, ""]
    return [*named, f"{gates.shape[1]} x {gates.shape[0]}, mean {gates.mean():.2f} ({gates.min():.2f} to {gates.max():.2f})"]


def _fit(text: str, width: int) -> str:
    """Return the end of a text that is too long for its place: a path tells most there."""
    letters = width // LETTER_WIDTH
    return text if len(text) <= letters else f"...{text[3 - letters :]}"


def _draw_scale(sheet: Image.Image, pen: ImageDraw.ImageDraw) -> None:
    top, length = sheet.height - 2 * CAPTION_LINE, 160
    pen.text((TILE_GAP, top), "gate 0", fill="black")
    start = TILE_GAP + 7 * LETTER_WIDTH
    bar = np.repeat(heat_colours(np.linspace(0, 1, length))[None], CAPTION_LINE, axis=0)
    sheet.paste(Image.fromarray(bar), (start, top))
    pen.text((start + length + LETTER_WIDTH, top), "1", fill="black")
