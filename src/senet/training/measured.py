"""Validation images on which a network is measured again and again, as it is changed: always the same, and the score of each."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from senet.data.batch import Batch
from senet.data.loaders import CorruptLog, eval_loader
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.measuring.scores import Scores
from senet.recipe import DataRecipe
from senet.spec import check_positive
from senet.tasks.answers import evaluator_of, metrics_of, open_source
from senet.tasks.labelled import labelled_images
from senet.tasks.pictured import scored, scores_of
from senet.tasks.task import Evaluator, ScoredByImage, Task
from senet.training.evaluate import score
from senet.training.evaluation_request import EvaluationRequest
from senet.training.members import Member, check_classes, choose_device, common_input, common_task, load_members

KEPT_BYTES = 2**30
"""Images that take so many bytes or fewer as the network sees them are read once, and kept."""


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Validation images of a problem, all or some, as networks are measured on them.

    Args:
        task: what is predicted of them.
        source: where they come from, with the input that the network expects.
        recipe: batch size, workers, and how many may be unreadable.
        device: where networks are measured.
        chosen: indices of the images in the source's validation images, ascending.
    """

    task: Task
    source: DataSource
    recipe: DataRecipe
    device: torch.device
    chosen: tuple[int, ...]
    _kept: list[Batch] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def of(
        cls,
        weights: Member | str | Path,
        changes: Mapping[str, Any] | None = None,
        *,
        device: torch.device | str | None = None,
        limit: int | None = None,
    ) -> "ValidationSet":
        """Open task and images of trained weights as `senet eval` does.

        Args:
            weights: a member that was loaded from a file, or a source of weights or a run folder.
            changes: dotted fields of a recipe instead of what the weights say, see `EvaluationRequest`.
            device: where to measure; None = where the member's network is, for a file a GPU if there is one.
            limit: how many images to take, drawn by chance and always the same; None = all.

        Raises:
            UsageError: as `senet.evaluate` does, and for a limit below 1.
        """
        source = weights.name if isinstance(weights, Member) else weights
        request = EvaluationRequest.of(source, changes or {})
        device = choose_device(weights.model if isinstance(weights, Member) else weights, device)
        (member,) = [weights] if isinstance(weights, Member) else load_members(weights, device)
        return cls.for_member(member, request, device=device, limit=limit)

    @classmethod
    def for_member(cls, member: Member, request: EvaluationRequest, *, device: torch.device, limit: int | None = None) -> "ValidationSet":
        """Open what is asked for, for a network that is loaded; otherwise as `of` does."""
        task = common_task([member], request.task, request.own)
        source = open_source(task, request.data)
        check_classes([member], source.classes)
        source = replace(source, input=common_input([member], source.input))
        count = len(source.val) if limit is None else min(check_positive("limit", limit), len(source.val))
        return cls(task, source, request.data, device, _drawn(range(len(source.val)), count))

    def __len__(self) -> int:
        """Return how many images there are, with those that cannot be read."""
        return len(self.chosen)

    def batches(self) -> Generator[Batch]:
        """Yield the task's batches, in order; images that fit into memory are read the first time only."""
        if self._kept:
            yield from self._kept
            return
        size = 0
        kept: list[Batch] = []
        with closing(eval_loader(self.source, self.recipe, self.task, chosen=self.chosen)) as batches:
            for batch in _ordinary(batches):
                size += sum(image.nbytes for image in batch.images)
                if size <= KEPT_BYTES:
                    kept.append(_owned(batch))
                else:
                    kept.clear()
                yield batch
        self._kept[:] = kept

    def labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images with their classes, as what records gates takes them, see `labelled_images`."""
        return labelled_images(self.task, self.batches())

    def measure(self, model: nn.Module) -> Scores:
        """Return the primary metric of a network on the set's device, by image too where the metric is the images' mean.

        Raises:
            DataError: if too many images, or all, cannot be read.
            UsageError: if the task does not answer as it should.
        """
        evaluator = evaluator_of(self.task, self.source, self.device)
        metric, by_image = self.task.metrics[0], ByImage(self.task, evaluator, scored(self.task), self.source.classes)
        corrupt = CorruptLog(self.recipe.max_corrupt, len(self))
        with closing(self.batches()) as batches:
            found = score(self.task, [model], by_image, batches, device=self.device, corrupt=corrupt)
        value = found.metrics[metric.name]
        return Scores(value, by_image.averaging_to(value), metric.higher_is_better, metric.title, metric.unit)

    def halves(self, seed: int = 0) -> tuple["ValidationSet", "ValidationSet"]:
        """Return two sets, each with half of the images by chance: one to decide by, and one to report on what was decided.

        Args:
            seed: of the draw; the same seed gives the same halves.

        Raises:
            UsageError: for fewer than two images.
        """
        if len(self) < 2:
            raise UsageError("one validation image cannot be cut into those that decide and those that report: give two or more")
        return self.split((len(self) + 1) // 2, seed)

    def split(self, count: int, seed: int = 0) -> tuple["ValidationSet", "ValidationSet"]:
        """Return so many of the images, drawn by chance, and the others.

        Args:
            count: how many.
            seed: of the draw; the same seed gives the same sets.
        """
        drawn = _drawn(self.chosen, count, seed)
        return replace(self, chosen=drawn), replace(self, chosen=tuple(sorted({*self.chosen} - {*drawn})))


class ByImage:
    """Evaluator of a task that also keeps the score of each image.

    Args:
        task: the task.
        evaluator: the task's own.
        judge: the task as one that scores single images; None = it scores none.
        classes: names of the source's classes.
    """

    def __init__(self, task: Task, evaluator: Evaluator, judge: ScoredByImage | None, classes: Sequence[str]) -> None:
        self._task, self._evaluator, self._judge, self._classes = task, evaluator, judge, classes
        self._scores: dict[int, float] = {}

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add a batch and what is predicted of it."""
        self._evaluator.update(outputs, batch)
        if self._judge is not None:
            self._scores |= scores_of(self._judge, outputs, batch, self._classes)

    def compute(self) -> Mapping[str, float]:
        """Return what the task's evaluator does."""
        return metrics_of(self._task, self._evaluator)

    def averaging_to(self, value: float) -> Tensor | None:
        """Return the scores by image, (N,) float64 in the order of the indices; None unless their mean is `value`.

        Of a metric that is no mean of images, such as mean average precision, the images say nothing about its chance.
        """
        scores = torch.tensor([self._scores[index] for index in sorted(self._scores)], dtype=torch.float64)
        return scores if len(scores) and np.isclose(scores.mean().item(), value, 1e-6, 1e-9) else None


def _drawn(indices: Iterable[int], count: int, seed: int = 0) -> tuple[int, ...]:
    """Return so many indices, drawn by chance without replacement, ascending."""
    every = np.asarray(tuple(indices), np.int64)
    return tuple(sorted(np.random.default_rng(seed).permutation(every)[:count].tolist()))


def _ordinary(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches whose tensors gradients may be taken through, though the first to ask for them computes none."""
    batches = iter(batches)
    while True:
        with torch.inference_mode(False):  # not around the yield, where it would be the reader's mode
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _owned(batch: Batch) -> Batch:
    """Return a batch that holds no memory which worker processes share, of which there is little."""
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.clone() if tensor.is_shared() else tensor, batch)
