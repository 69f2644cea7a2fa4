"""What a task answers, checked where it is used: a user's task may return anything."""

import logging
import os
from collections.abc import Mapping
from functools import cache
from numbers import Real
from typing import Any

from torch import Tensor

from senet.data.source import DataSource
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.tasks.task import Evaluator, Task

log = logging.getLogger("senet")


def open_source(task: Task, recipe: DataRecipe) -> DataSource:
    """Return the images that a task opens; the source's notes are logged, each once a process.

    Raises:
        UsageError: if that is no DataSource.
    """
    source: Any = task.open(recipe)
    if not isinstance(source, DataSource):
        raise _wrong(task, "open", "a senet.data.source.DataSource", type(source).__name__)
    for note in source.notes:
        _log_once(note)
    return source


@cache
def _log_once(note: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        log.warning(note)


def losses_of(task: Task, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
    """Return a task's losses; "loss" is what is minimised.

    Raises:
        UsageError: unless they are a mapping in which "loss" is a tensor of one element.
    """
    losses: Any = task.loss(outputs, targets)
    loss = losses.get("loss") if isinstance(losses, Mapping) else None
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise _wrong(task, "loss", "a mapping in which 'loss' is a tensor of one element", _described(losses))
    return losses


def metrics_of(task: Task, evaluator: Evaluator) -> dict[str, float]:
    """Return the value of each metric of a task, and of "loss".

    Raises:
        UsageError: if one is missing or no number.
    """
    found: Any = evaluator.compute()
    names = (*(metric.name for metric in task.metrics), "loss")
    if not isinstance(found, Mapping) or not all(isinstance(found.get(name), Real) for name in names):
        raise _wrong(task, "evaluator's compute", f"a mapping to a number of each of {', '.join(names)}", _described(found))
    return {name: found[name] for name in names}


def _wrong(task: Task, method: str, wanted: str, got: str) -> UsageError:
    return UsageError(f"{type(task).__name__}'s {method} must return {wanted}, got {got}")


def _described(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _kind(value)
    return f"{{{', '.join(f'{name!r}: {_kind(part)}' for name, part in value.items())}}}"


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
