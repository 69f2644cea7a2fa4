"""Curves that a task tells of trained networks, such as precision over recall, on the validation images."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from senet.comparison.prepare import PreparedVariant
from senet.data.loaders import CorruptLog, eval_loader
from senet.devices import default_device
from senet.models.create import from_pretrained
from senet.results.comparison import SeedRun
from senet.results.curves import Curves
from senet.tasks.answers import evaluator_of
from senet.training.evaluate import score


def tells_curves(prepared: PreparedVariant) -> bool:
    """Return whether the evaluator of a variant's task has curves."""
    return callable(getattr(evaluator_of(prepared.task, prepared.source, torch.device("cpu")), "curves", None))


def with_curves(prepared: PreparedVariant, runs: Sequence[SeedRun], weights: Sequence[Path]) -> tuple[SeedRun, ...]:
    """Return the runs of a variant with the curves of their best weights: each network is evaluated once more."""
    return tuple(replace(run, curves=measure_curves(prepared, path)) for run, path in zip(runs, weights, strict=True))


def measure_curves(prepared: PreparedVariant, weights: Path) -> Curves:
    """Return the curves of trained weights on the validation images of a variant."""
    device = default_device()
    task, source, data = prepared.task, prepared.source, prepared.variant.recipe.data
    network, corrupt = from_pretrained(weights, device=device), CorruptLog(data.max_corrupt, len(source.val))
    with closing(eval_loader(source, data, task)) as batches:
        return score(task, [network], evaluator_of(task, source, device), batches, device=device, corrupt=corrupt).curves
