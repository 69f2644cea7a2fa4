"""How far the gates of each block are from constant, and how much of that the class explains, as bars."""

from senet.analysis.block_statistics import BlockStatistics, GateStatistics
from senet.report.svg import LETTER, Drawing, Scale, fit, tick_label, tick_step

BAR_ROW = 26.0
"""Height of a block's bar with its space."""
BLOCK_NAMES = 140.0
"""Pixels that the names of blocks may take."""
BLOCK_CHART = 460.0
"""Width of a chart of blocks, in pixels."""


def gate_name(block: BlockStatistics) -> str:
    """Return what a row is called: gates of positions have the name of their block and say what they are."""
    return block.name if block.kind == "channel" else f"{block.name}, positions"


def variation_chart(statistics: GateStatistics) -> Drawing:
    """Draw how far the gates of each block are from constant; the strong part of a bar is the share that the class explains."""
    blocks = statistics.blocks
    words = "; ".join(f"{gate_name(block)} {block.distance:.3f}{_explained(block)}" for block in blocks)
    drawing = Drawing(BLOCK_CHART, 12 + BAR_ROW * len(blocks) + 46, f"Distance of the gates to their channel means. {words}.")
    margin = min(BLOCK_NAMES, 14 + LETTER * max(len(gate_name(block)) for block in blocks))
    x, bottom = Scale(0.0, max(0.05, *(block.distance for block in blocks)), margin, BLOCK_CHART - 7 * LETTER), drawing.height - 40
    step = tick_step(x.high, 5)
    for tick in x.ticks(5):
        drawing.line((x(tick), 8), (x(tick), bottom), class_="zero" if tick == 0 else "grid")
        drawing.text((x(tick), bottom + 16), tick_label(tick, step), class_="tick middle")
    drawing.text((BLOCK_CHART, bottom + 34), "root mean square of gate minus its channel mean", class_="tick end")
    for place, block in enumerate(blocks):
        y = 12 + BAR_ROW * (place + 0.5)
        length, strong = x(block.distance) - x(0), block.explained or 0.0
        drawing.text((0, y + 4), fit(gate_name(block), margin), class_="label")
        drawing.add(
            "rect",
            tip=f"{gate_name(block)}: {block.distance:.4f}{_explained(block)}",
            x=x(0),
            y=y - 8,
            width=length,
            height=16.0,
            class_="bar s1",
        )
        drawing.add("rect", x=x(0), y=y - 8, width=length * strong, height=16.0, class_="bar s2")
        drawing.text((x(block.distance) + 6, y + 4), f"{block.distance:.3f}", class_="tick")
    return drawing


def _explained(block: BlockStatistics) -> str:
    return "" if block.explained is None else f", {100 * block.explained:.0f} % explained by the class"
