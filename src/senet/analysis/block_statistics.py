"""What the gates of a network do on real images, as data: how much they vary, with what, and how many saturate."""

from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from torch import Tensor

from senet.analysis.block_places import BlockPlace
from senet.analysis.record import Excitations


@dataclass(frozen=True)
class BlockStatistics(BlockPlace):
    """Statistics of the gates of one block: C channels, or one gate for all channels of a position.

    Args:
        block: path of the outermost block that this one is part of: of scSE for its two halves, else its own.
        kind: "channel", or "position" of sSE.
        mean: (C,) float64, mean gate of each channel over images and positions; (1,) for positions.
        deviation: (C,) float64, standard deviation about it (population).
        between: standard deviation of the classes' means; a root mean square over the channels, like the next two.
        within: standard deviation over the images of a class.
        over_positions: standard deviation over the positions of an image; 0 where the gate has none.
        explained: share of the variance that the class explains, the square of `between` over the sum of the three squares, so that a
            channel weighs as much as it varies; None with fewer than two classes, as many classes as images, or where nothing varies.
            Classes of few images seem to explain more than they do: of n images each, 1/n of what varies by chance.
        near_zero: share of the gates between -0.05 and 0.05.
        near_one: share above 0.95.
        rank: effective rank of the covariance of the gates, see `GateCovariance.effective_rank`; 1 for positions whose gates vary.
        firing: (hidden,) share of images for which each hidden unit is above 0; None for a block without known hidden units.
    """

    block: str
    kind: str
    mean: Tensor = field(repr=False, compare=False)
    deviation: Tensor = field(repr=False, compare=False)
    between: float
    within: float
    over_positions: float
    explained: float | None
    near_zero: float
    near_one: float
    rank: float
    firing: Tensor | None = field(repr=False, compare=False)

    @property
    def distance(self) -> float:
        """How far the gates are from constant: root mean square of gate minus its channel's mean, over images, positions and channels."""
        return self.deviation.square().mean().sqrt().item()

    @property
    def hidden(self) -> int | None:
        """How many hidden units the block has."""
        return None if self.firing is None else len(self.firing)

    @property
    def dead(self) -> int | None:
        """How many hidden units are 0 for every image."""
        return None if self.firing is None else int((self.firing == 0).sum())

    def figures(self, digits: int) -> dict[str, str]:
        """Return the fields that tables show as text, spreads with so many digits; a share is in percent, and what is not known empty."""
        spreads = {"mean": self.mean.mean().item(), "distance": self.distance, "between": self.between, "within": self.within}
        shares = {"explained": self.explained, "near_zero": self.near_zero, "near_one": self.near_one}
        return {
            "gates": str(len(self.mean)) if self.kind == "channel" else "positions",
            **{name: f"{value:.{digits}f}" for name, value in (spreads | {"over_positions": self.over_positions}).items()},
            **{name: "" if share is None else f"{100 * share:.1f}" for name, share in shares.items()},
            "dead": "" if self.dead is None else f"{self.dead} of {self.hidden}",
            "rank": f"{self.rank:.1f}",
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        tensors = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, Tensor)}
        return vars(self) | tensors | {"distance": self.distance, "hidden": self.hidden, "dead": self.dead}


@dataclass(frozen=True)
class GateStatistics:
    """Statistics of the gates of a network.

    Args:
        images: how many images passed through it.
        blocks: one entry a block with gates, in the order of execution.
        excitations: mean and spread of the channel gates by class, of the same pass; None without classes or channel gates.
    """

    images: int
    blocks: tuple[BlockStatistics, ...]
    excitations: Excitations | None = field(default=None, repr=False)

    def __getitem__(self, path: str) -> BlockStatistics:
        """Return the statistics of a block by its path or name; halves of scSE have one name, and the first that runs is meant.

        Raises:
            KeyError: if there is none.
        """
        for block in sorted(self.blocks, key=lambda block: block.path != path):
            if path in (block.path, block.name):
                return block
        raise KeyError(path)

    def table(self) -> Table:
        """Return one row a block."""
        columns = {
            "gates": "gates",
            "mean": "mean",
            "between": "between",
            "within": "within",
            "over_positions": "positions",
            "explained": "class %",
            "near_zero": "<0.05 %",
            "near_one": ">0.95 %",
            "distance": "to constant",
            "dead": "dead",
            "rank": "rank",
        }
        table = Table("block", "path", *columns.values())
        for block in self.blocks:
            figures = block.figures(4)
            figures |= {"gates": figures["gates"].removesuffix("s"), "dead": figures["dead"].replace(" of ", "/")}  # the row is wide
            table.add_row(block.name, block.path, *(figures[name] for name in columns))
        for column in table.columns[2:]:
            column.justify = "right"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; the excitations have a form of their own."""
        return {"images": self.images, "blocks": [block.to_dict() for block in self.blocks]}
