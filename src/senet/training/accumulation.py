"""Gradient accumulation: a batch in parts, taken one after the other, whose gradients add up to those of the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from senet.data.delivery import DataError
from senet.errors import UsageError
from senet.recipe import TrainingRecipe
from senet.training.tally import Figures


@dataclass(frozen=True)
class BatchPart:
    """Images of a batch that go through the network together.

    Args:
        images: of the part.
        targets: of the same images.
        share: of the batch's images that they are, by which losses, means over images, are weighed.
    """

    images: Any
    targets: Any
    share: float = 1.0


def check_parts(accumulate: int, batch_size: int, world: int) -> None:
    """Raise UsageError if a process's images of a step are fewer than the parts in which they are taken."""
    if (images := batch_size // world) < accumulate:
        of_each = "" if world == 1 else f" of each of {world} processes"
        raise UsageError(f"training.accumulate {accumulate} takes the {images} images{of_each} in parts: at most {images} of them")


def check_halving(plan: TrainingRecipe, world: int) -> None:
    """Raise UsageError if processes cannot agree on the parts of a step, because one waits for another inside of them."""
    for name, holds in (("training.sync_bn", plan.sync_bn), ("training.nonfinite skip", plan.nonfinite == "skip")):
        if plan.out_of_memory == "halve" and world > 1 and holds:
            raise UsageError(
                f"training.out_of_memory halve does not go with {name} in several processes, which wait for each other within a step: "
                "set training.accumulate, or leave one of the two out"
            )


def batch_parts(images: Any, targets: Any, count: int) -> list[BatchPart]:
    """Split a batch into `count` parts of as equal sizes as possible.

    Args:
        images: (N, C, H, W), or a list of N of them.
        targets: tensors (N, ...), lists of one target for each image, or mappings and, beside a tensor of images, lists of either.
        count: how many.

    Raises:
        UsageError: if targets are something else.
        DataError: if there are fewer images than parts.
    """
    if count == 1:
        return [BatchPart(images, targets)]
    total = len(images)
    if total < count:
        raise DataError(f"{total} images of a batch can be read, and training.accumulate {count} takes it in more parts than that")
    bounds = [total * place // count for place in range(count + 1)]
    spans = [slice(*pair) for pair in pairwise(bounds)]
    by_image = not isinstance(images, Tensor)
    return [BatchPart(images[span], _cut(targets, span, total, by_image), (span.stop - span.start) / total) for span in spans]


def figures_of_parts(figures: Sequence[Figures], parts: Sequence[BatchPart]) -> Figures:
    """Return the figures of a step from those of its parts."""
    if len(figures) == 1:
        return figures[0]
    means, sums = figures[0].means, figures[0].sums
    values = torch.stack([one.values for one in figures])
    for row, part in zip(values, parts, strict=True):
        row[: len(means)] *= part.share
    return Figures(values.sum(0), means, sums)


def _cut(value: Any, span: slice, total: int, by_image: bool) -> Any:
    """Return what a part of a batch has of targets; `by_image` says that a list holds one for each image."""
    if isinstance(value, Tensor) and value.ndim and len(value) == total:
        return value[span]
    if isinstance(value, Mapping):
        return {name: _cut(inner, span, total, by_image) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        if not by_image and all(_is_cuttable(inner, total) for inner in value):
            return [_cut(inner, span, total, by_image) for inner in value]
        if len(value) == total:
            return value[span]
    raise UsageError(
        f"training.accumulate cannot split targets of a batch: tensors and lists of its {total} images are split, or mappings of them, "
        f"and this is {_described(value)}; leave it at 1"
    )


def _is_cuttable(value: Any, total: int) -> bool:
    """Return whether targets of a batch are tensors of all its images, or mappings and lists of them."""
    if isinstance(value, Tensor):
        return bool(value.ndim) and len(value) == total
    if isinstance(value, Mapping):
        return all(_is_cuttable(inner, total) for inner in value.values())
    return isinstance(value, list | tuple) and all(_is_cuttable(inner, total) for inner in value)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
