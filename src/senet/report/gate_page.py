"""The page of an analysis of gates: what follows, tables, effects, variation, the paper's figures, heat maps and cost."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from senet.analysis.block_statistics import BlockStatistics
from senet.measuring.numbers import compact
from senet.report.block_effects import effects_chart, mode_key
from senet.report.document import data_words, document, markup
from senet.report.excitations import ALL_IMAGES, group_names, shown_panels
from senet.report.gate_variation import gate_name, variation_chart
from senet.results.gate_analysis import GateAnalysis


def render_analysis(analysis: GateAnalysis) -> str:
    """Return an analysis as one HTML document without scripts, fonts or links to anything outside."""
    images, panels = analysis.images, analysis.panels
    data = data_words(images.name, images.root)
    by_class = bool(panels) and group_names(panels, images.classes) != ALL_IMAGES
    return document(
        "gate_page.html",
        title=f"What do the gates of {analysis.network} do on {data}?",
        data_title=data,
        analysis=analysis,
        share=f"{images.count} validation images"
        if images.count == images.total
        else f"{images.count} of {images.total} validation images",
        gates=[_gate_row(block) for block in analysis.statistics.blocks],
        variation=markup(variation_chart(analysis.statistics)),
        explained=any(block.explained is not None for block in analysis.statistics.blocks),
        positions=any(block.kind == "position" for block in analysis.statistics.blocks),
        key_of_modes=mode_key(analysis.modes),
        effects=[_effect_row(analysis, place) for place in range(len(analysis.effects))],
        chart=markup(effects_chart(analysis)),
        intervals=any(loss.low is not None for effect in analysis.effects for loss in effect.losses.values()),
        by_class=by_class,
        weighted=any(panel.weighted for panel in panels),
        excitations=shown_panels(panels, images.classes) if panels else None,
        sheets=[_sheet(sheet.image, sheet.content, sheet.size) for sheet in analysis.sheets],
        facts=_facts(analysis),
    )


COLUMNS = ("gates", "mean", "distance", "between", "within", "over_positions", "explained", "near_zero", "near_one", "dead", "rank")
"""Figures of a block in the order of the page's columns."""


def _gate_row(block: BlockStatistics) -> tuple[str, str, tuple[str, ...]]:
    """Return name and path of a block, and its figures."""
    figures = block.figures(3)
    return gate_name(block), block.path, tuple(figures[name] for name in COLUMNS)


def _effect_row(analysis: GateAnalysis, place: int) -> dict[str, Any]:
    effect, total = analysis.effects[place], analysis.costs.total
    cost = analysis.costs.blocks[effect.path]
    return {
        "name": effect.name,
        "path": effect.path,
        "losses": [effect.losses[mode].words(analysis.metric.decimals) for mode in analysis.modes],
        "costs": [
            (compact(part), f"{100 * part / whole:.2f} %" if whole else "")
            for part, whole in ((cost.params, total.params), (cost.macs, total.macs))
        ],
    }


def _sheet(image: str, content: bytes, size: tuple[int, int]) -> dict[str, Any]:
    data = f"data:image/webp;base64,{b64encode(content).decode()}"
    return {"image": image, "data": data, "width": size[0], "height": size[1]}


def _facts(analysis: GateAnalysis) -> dict[str, str]:
    found = analysis.environment
    blocks = sum(cost.params for cost in analysis.costs.blocks.values()), sum(cost.macs for cost in analysis.costs.blocks.values())
    total, size = analysis.costs.total, " x ".join(map(str, analysis.costs.input_size[1:]))
    return {
        "weights": Path(analysis.weights).name if Path(analysis.weights).is_absolute() else analysis.weights,
        "parameters": f"{total.params:,}, of them {blocks[0]:,} in blocks",
        "MACs": f"{compact(total.macs)} for an image of {size}, of them {compact(blocks[1])} in blocks",
        "date": str(found["date"])[:10],
        "device": f"{found['device']}, threads: {found['threads']}",
        **found["versions"],
        "commit": found["commit"] or "installed",
    }
