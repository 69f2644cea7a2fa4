"""What the gates of a trained network do on validation images and what each block is worth, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from senet.analysis.advice import Advice
from senet.analysis.block_statistics import GateStatistics
from senet.analysis.excitation import Panel
from senet.analysis.frozen import FREEZE_MODES, BlockEffect
from senet.measuring.counting import Cost
from senet.measuring.numbers import compact, plural
from senet.measuring.scores import Scores
from senet.results.metric import Metric

if TYPE_CHECKING:
    from rich.table import Table

TITLES = {"channel": "channel means", "mean": "one number", "none": "dropped"}
"""What a block's gates are replaced by -> what people read."""


@dataclass(frozen=True)
class GateSheet:
    """Heat maps of the gates of positions in all blocks, over one image.

    Args:
        image: name of the image.
        content: the picture, WebP.
        size: (width, height) in pixels.
    """

    image: str
    content: bytes = field(repr=False)
    size: tuple[int, int]


@dataclass(frozen=True)
class BlockCosts:
    """Cost of a network and of its blocks, for one image.

    Args:
        input_size: (1, C, H, W) of the image.
        total: what the network costs.
        blocks: path of a block -> what it costs by itself.
    """

    input_size: tuple[int, ...]
    total: Cost
    blocks: Mapping[str, Cost]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "input_size": list(self.input_size),
            "total": _counts(self.total),
            "blocks": {path: _counts(cost) for path, cost in self.blocks.items()},
        }


@dataclass(frozen=True)
class AnalysedImages:
    """Images that an analysis rests on.

    Args:
        name: the source of the images.
        root: the folder that they lie in; None where the source decides.
        count: how many were measured.
        total: how many validation images there are.
        classes: names of their classes; empty where they have none.
    """

    name: str
    root: str | None
    count: int
    total: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class GateAnalysis:
    """Outcome of `senet analyse`.

    Args:
        weights: where the network came from.
        network: its name.
        images: what it was measured on.
        metric: what it is judged by.
        scores: how good it is as it is.
        statistics: what its gates do.
        effects: what freezing each block costs.
        advice: what follows.
        panels: the curves of the paper's Figures 6 and 7; none without channel gates.
        costs: of the network and its blocks.
        sheets: of the gates of positions, where there are some.
        environment: on what and when all this was found.
    """

    weights: str
    network: str
    images: AnalysedImages
    metric: Metric
    scores: Scores
    statistics: GateStatistics
    effects: tuple[BlockEffect, ...]
    advice: tuple[Advice, ...]
    panels: tuple[Panel, ...]
    costs: BlockCosts
    sheets: tuple[GateSheet, ...]
    environment: Mapping[str, Any]

    @property
    def modes(self) -> tuple[str, ...]:
        """What gates were replaced by."""
        return tuple(mode for mode in FREEZE_MODES if all(mode in effect.losses for effect in self.effects))

    @property
    def score(self) -> str:
        """The metric as it is, with its title and unit."""
        return f"{self.metric.title} {self.scores.value:.{self.metric.decimals}f} {self.metric.unit}".rstrip()

    @property
    def verdict(self) -> str:
        """What follows, in a few words."""
        if "channel" not in self.modes:
            return self.score
        folded = {path for advice in self.advice if advice.action == "fold" for path in advice.blocks}
        return f"{len(folded) or 'None'} of {plural(len(self.effects), 'block')} can be folded"

    def table(self) -> "Table":
        """Return what the gates do, one row a block; the page and the plain data say more."""
        table = _table("block", "gates", "mean", "to\nconstant", "class\n%", "< 0.05\n%", "> 0.95\n%", "dead\nhidden", "rank")
        shown = ("gates", "mean", "distance", "explained", "near_zero", "near_one", "dead", "rank")
        for block in self.statistics.blocks:
            figures = block.figures(4)
            table.add_row(block.name, *(figures[name] for name in shown))
        table.caption = "to constant: root mean square of gate minus its channel's mean; class: share of the variance that it explains"
        return table

    def effects_table(self) -> "Table":
        """Return what each block costs and what freezing it loses, one row a block."""
        images = f"{self.images.count} of {self.images.total} validation images"
        unit = next((loss.unit for effect in self.effects for loss in effect.losses.values()), "")
        table = _table("block", "params", "MACs", *(TITLES[mode] for mode in self.modes))
        table.title = f"{self.score} on {images}; lost in {unit or 'it'} when one block's gates are frozen"
        for effect in self.effects:
            cost = self.costs.blocks[effect.path]
            losses = (effect.losses[mode].words(self.metric.decimals) for mode in self.modes)
            table.add_row(effect.name, compact(cost.params), compact(cost.macs), *("\n".join(filter(None, words)) for words in losses))
        intervals = any(loss.low is not None for effect in self.effects for loss in effect.losses.values())
        table.caption = "negative: better without; in brackets the 95 % interval over images" if intervals else "negative: better without"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: all but the heat maps."""
        return {
            "weights": self.weights,
            "network": self.network,
            "images": asdict(self.images) | {"classes": list(self.images.classes)},
            "metric": self.metric.to_dict(),
            "value": self.scores.value,
            "gates": self.statistics.to_dict(),
            "effects": [effect.to_dict() for effect in self.effects],
            "advice": [advice.to_dict() for advice in self.advice],
            "costs": self.costs.to_dict(),
            "excitations": [asdict(panel) for panel in self.panels],
            "environment": dict(self.environment),
        }


def _table(*headings: str) -> "Table":
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False, title_justify="left", caption_justify="left")
    for column in table.columns:
        column.justify, column.overflow = "left" if column is table.columns[0] else "right", "fold"  # no name or figure is cut
    return table


def _counts(cost: Cost) -> dict[str, int]:
    return {"params": cost.params, "macs": cost.macs, "squeeze_adds": cost.squeeze_adds}
