"""What folding blocks, one after the other, does to a network: its metric, its parameters, its operations."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from torch import nn

from senet.compression.folding import ConstantFold
from senet.measuring.counting import Cost
from senet.measuring.numbers import compact
from senet.measuring.scores import Loss, Scores, points_lost
from senet.terminal import as_text


@dataclass(frozen=True)
class FoldStep:
    """Network in which one more block is folded than in the last step that was taken.

    Args:
        path: the block.
        alone: what the metric loses on the images that decide if this block alone has a constant gate.
        decision: what it loses there with this block folded besides those that were taken before.
        held_out: the same on the images that do not decide.
        params: parameters of that network.
        macs: its multiply-accumulates per image.
        taken: whether the block stays folded; False for one with which the tolerance was exceeded.
    """

    path: str
    alone: Loss
    decision: Loss
    held_out: Loss
    params: int
    macs: int
    taken: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {name: value.to_dict() if isinstance(value, Loss) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class CompressionReport:
    """Network with as many blocks folded as a tolerance allows, and how it came to that.

    Args:
        model: the network.
        tolerance: how much the metric may lose on the images that decide, in its unit; percent points of one in percent.
        decision: scores of the network as it was on the images that decide.
        held_out: its scores on those that do not.
        before: what it cost, per image of the first one's size.
        steps: the blocks in the order in which they were tried.
        folds: where the factors of each folded block went.
        kept: path of each other block -> why it stays.
    """

    model: nn.Module = field(repr=False)
    tolerance: float
    decision: Scores
    held_out: Scores
    before: Cost
    steps: tuple[FoldStep, ...]
    folds: tuple[ConstantFold, ...]
    kept: Mapping[str, str] = field(hash=False)

    @property
    def lost(self) -> Loss:
        """What the compressed network loses on the images that did not decide."""
        return next((step.held_out for step in reversed(self.steps) if step.taken), points_lost(self.held_out, self.held_out))

    def table(self) -> Table:
        """Return the fold curve, one row a block that was tried; below it where factors went, what stays, and the outcome."""
        title = self.decision.metric
        table = Table("", "block", "alone", "decided", "held out (95 %)", "params", "MACs", box=None, pad_edge=False)
        scores = (f"{title} {scores.value:.2f}" for scores in (self.decision, self.held_out))
        table.add_row("0", "none", "", *scores, compact(self.before.params), compact(self.before.macs))
        number = 0
        for step in self.steps:
            number += step.taken
            (alone, _), (decision, _), held_out = (loss.words() for loss in (step.alone, step.decision, step.held_out))
            losses = (alone, decision, " ".join(held_out).rstrip())
            table.add_row(str(number) if step.taken else "-", step.path, *losses, compact(step.params), compact(step.macs))
        for column in table.columns[2:]:
            column.justify = "right"
        for column in table.columns:
            column.overflow = "fold"  # no path or figure is cut
        table.caption, table.caption_justify = "\n".join([*self._remarks(), self.sentence()]), "left"
        return table

    def _remarks(self) -> Iterator[str]:
        """Yield what the columns mean, and a line on each block."""
        yield f"{self.lost.unit or self.decision.metric} lost: by this block alone; with those above, on images that decided and others"
        for fold in self.folds:
            yield f"{fold.path} into {', '.join(fold.into)}" if fold.into else f"{fold.path} stays a multiplication: {fold.kept}"
        for path, reason in self.kept.items():
            yield f"{path} stays: {reason}"

    def sentence(self) -> str:
        """Return the outcome in one sentence."""
        after = next((step for step in reversed(self.steps) if step.taken), None)
        blocks = len(self.folds) + len(self.kept)
        if after is None:
            return f"none of {blocks} blocks can be folded within {self.tolerance:g} {self.lost.unit}"
        saved = (
            f"{1 - after.params / self.before.params:.1%} of the parameters and {1 - after.macs / self.before.macs:.2%} of the MACs less"
        )
        return f"{len(self.folds)} of {blocks} blocks folded: {saved}, {self.lost.text()} of {self.held_out.metric} lost on images held out"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "tolerance": self.tolerance if math.isfinite(self.tolerance) else None,
            "metric": {"title": self.decision.metric, "unit": self.decision.unit, "higher_is_better": self.decision.higher_is_better},
            "before": {
                "decision": self.decision.value,
                "held_out": self.held_out.value,
                "params": self.before.params,
                "macs": self.before.macs,
            },
            "steps": [step.to_dict() for step in self.steps],
            "folds": [fold.to_dict() for fold in self.folds],
            "kept": dict(self.kept),
            "lost": self.lost.to_dict(),
        }

    def __str__(self) -> str:
        return as_text(self.table(), 200)
