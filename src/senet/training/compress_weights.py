"""Trained weights made smaller without training on: folded within a tolerance, or pruned to a cost, and what that loses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import nn

from senet.compression.fold_curve import CompressionReport
from senet.compression.pruning.result import Pruned
from senet.errors import UsageError
from senet.measuring.scores import Loss, Scores, points_lost
from senet.recipe.compress import Compression
from senet.training.compressed import fold_within, prune_to, training_images
from senet.training.measured import ValidationSet
from senet.training.members import Member, choose_device, load_members
from senet.weights.store import find_config, metadata_of, save_weights


@dataclass(frozen=True)
class PrunedWeights:
    """Pruned network, with what it is worth on the validation images.

    Args:
        pruned: the network, and what went where.
        before: scores of the network as it was.
        after: scores of the pruned one; nothing was trained since.
    """

    pruned: Pruned
    before: Scores
    after: Scores

    @property
    def model(self) -> nn.Module:
        """The pruned network."""
        return self.pruned.model

    @property
    def lost(self) -> Loss:
        """What the metric lost."""
        return points_lost(self.before, self.after)

    def sentence(self) -> str:
        """Return what the metric was before and is after."""
        was, is_ = (f"{scores.value:.2f} {scores.unit}".rstrip() for scores in (self.before, self.after))
        return f"{self.before.metric} {was} before and {is_} after, without training: {self.lost.text()} lost"

    def table(self) -> Table:
        """Return one row a set of channels, what is left of each cost, and the metric before and after."""
        table = self.pruned.table()
        table.caption, table.caption_justify = self.sentence(), "left"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        metric = {"title": self.before.metric, "unit": self.before.unit, "before": self.before.value, "after": self.after.value}
        return self.pruned.to_dict() | {"metric": metric, "lost": self.lost.to_dict()}


@dataclass(frozen=True)
class TrainedWeights:
    """Trained weights with their validation images.

    Args:
        member: the network and what its file says.
        images: on which it is measured.
    """

    member: Member
    images: ValidationSet

    @classmethod
    def open(cls, source: str | Path, changes: Mapping[str, Any], device: torch.device | str | None = None) -> "TrainedWeights":
        """Load weights, and open their task and images as `senet eval` does.

        Args:
            source: a run's folder, or a source of weights.
            changes: fields of the data and of the task's own part instead of what the weights say.
            device: where to compute; None = a GPU if there is one.

        Raises:
            UsageError: as `senet.evaluate` does, and if the network does not say how it was made, so that a smaller one could not be saved.
        """
        (member,) = load_members(source, choose_device(source, device))
        if find_config(member.model) is None:
            raise UsageError(f"{member.name}: its network does not say how it was made, so that a smaller one could not be rebuilt")
        return cls(member, ValidationSet.of(member, changes, device=device))

    def fold(self, tolerance: float, progress: Callable[[int, int], object] = lambda done, total: None) -> CompressionReport:
        """Fold gates within a tolerance: half of the validation images decide, the other half tells what was lost."""
        return fold_within(self.member.model, tolerance, self.images, progress)

    def prune(self, compression: Compression, steps: int = 1) -> PrunedWeights:
        """Prune to a cost by training images, and measure both networks on the validation images."""
        images = self.images
        training = training_images(images.task, images.source, images.recipe, images.device, seed=0)
        pruned = prune_to(self.member.model, compression, training, steps=steps)
        return PrunedWeights(pruned, images.measure(self.member.model), images.measure(pruned.model))

    def save(self, model: nn.Module, path: str | Path, compress: str) -> None:
        """Write a smaller network's weights, with what the file says of those that it comes from."""
        metadata = metadata_of(self.member.model)
        palette = {} if self.member.palette is None else {"palette": self.member.palette}
        save_weights(
            model,
            path,
            classes=self.member.classes,
            input=self.member.input,
            recipe=self.member.recipe,
            extra={"compressed": compress, "compressed_from": metadata.source, **palette},
        )
