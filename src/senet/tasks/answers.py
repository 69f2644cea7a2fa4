"""What a task answers, checked where it is used: a user's task may return anything."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import Tensor, nn

from senet.data.batch import Batch, Sample
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.recipe import DataRecipe, ModelRecipe
from senet.results.curves import CURVES, CurveChart, Curves, plain_curves
from senet.results.tables import TABLES, Tables
from senet.tasks.task import Evaluator, Prediction, Task, WithTargets
from senet.text import printable

log = logging.getLogger("senet")


def open_source(task: Task, recipe: DataRecipe) -> DataSource:
    """Return the images that a task opens; the source's notes are logged, each once a process.

    Raises:
        UsageError: if that is no DataSource, has no validation images, or its classes are not names that can be written to a file.
    """
    source: Any = task.open(recipe)
    if not isinstance(source, DataSource):
        raise wrong_answer(task, "open", "a senet.data.source.DataSource", type(source).__name__)
    if not isinstance(source.classes, Sequence) or not all(isinstance(name, str) for name in source.classes):
        raise wrong_answer(task, "open", "a DataSource whose classes are a tuple of str", printable(repr(source.classes)))
    if foreign := next((name for name in source.classes if not _is_writable(name)), None):
        raise UsageError(f"the class name '{printable(foreign)}' of {source.name} is not UTF-8 and cannot be written to a file; rename it")
    if not len(source.val):
        raise UsageError(f"{source.name} has no validation images, and nothing can be measured without them")
    for note in source.notes:
        log_once(note)
    return source


@cache
def log_once(note: str) -> None:
    """Log a remark, once a process, and of several processes in the first."""
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        log.warning(note)


def takes_targets(task: Task) -> bool:
    """Return whether a task calls its network with more than images, see `senet.tasks.task.WithTargets`."""
    return getattr(task, "inputs", None) is not None


def inputs_of(task: Task, images: Any, targets: Any) -> tuple[Any, ...]:
    """Return what a task's network is called with: the images, unless the task says more.

    Raises:
        UsageError: if it says so with something else than a tuple.
    """
    if not takes_targets(task):
        return (images,)
    found: Any = cast(WithTargets, task).inputs(images, targets)
    if not isinstance(found, tuple) or not found:
        raise wrong_answer(task, "inputs", "a tuple of what the network is called with", described(found))
    return found


def average_of(task: Task, models: Sequence[nn.Module], batch: Batch) -> Any:
    """Return what networks predict together of a batch on their device."""
    return task.average(models, *inputs_of(task, batch.images, batch.targets))


def average_of_one(task: Task, models: Sequence[nn.Module], image: Any, target: Any, device: torch.device) -> Any:
    """Return what networks predict together of one image.

    Args:
        task: what is predicted.
        models: the networks.
        image: what `eval_transform` made of it.
        target: what it made of None; only a task with inputs of its own asks for it.
        device: where the networks are.
    """
    if not takes_targets(task):
        return task.average(models, image[None].to(device))
    return average_of(task, models, task.collate([Sample(image, target, [])]).to(device))


def losses_of(task: Task, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
    """Return a task's losses; "loss" is what is minimised.

    Raises:
        UsageError: unless they are a mapping to tensors of one element, in which "loss" depends on the outputs.
    """
    losses: Any = task.loss(outputs, targets)
    if not _has_scalars(losses) or "loss" not in losses:
        raise wrong_answer(task, "loss", "a mapping in which 'loss' is a tensor of one element, and others are", described(losses))
    if torch.is_grad_enabled() and not losses["loss"].requires_grad:
        raise wrong_answer(task, "loss", "a 'loss' that depends on the outputs", "one without a gradient")
    return losses


def counts_of(task: Task, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
    """Return what a task counts beside its losses.

    Raises:
        UsageError: unless it is a mapping to tensors of one element.
    """
    counts: Any = task.counts(outputs, targets)
    if not _has_scalars(counts):
        raise wrong_answer(task, "counts", "a mapping to tensors of one element", described(counts))
    return counts


def network_of(task: Task, recipe: ModelRecipe, source: DataSource, device: torch.device | str | None = None) -> nn.Module:
    """Return the network that a task builds.

    Raises:
        UsageError: if that is no module.
    """
    network: Any = task.build(recipe, source, device)
    if not isinstance(network, nn.Module):
        raise wrong_answer(task, "build", "a torch.nn.Module", type(network).__name__)
    return network


def evaluator_of(task: Task, source: DataSource, device: torch.device) -> Evaluator:
    """Return a task's fresh evaluator.

    Raises:
        UsageError: if it cannot be updated and computed.
    """
    evaluator: Any = task.evaluator(source, device)
    if not all(callable(getattr(evaluator, name, None)) for name in ("update", "compute")):
        raise wrong_answer(task, "evaluator", "an object with update and compute", type(evaluator).__name__)
    return evaluator


def noise_of(task: Task, source: DataSource, count: int) -> Batch:
    """Return a task's batch of noise.

    Raises:
        UsageError: unless it is a Batch of so many images.
    """
    batch: Any = task.noise(source, count)
    if not isinstance(batch, Batch) or not isinstance(batch.images, Tensor | list) or len(batch.images) != count:
        raise wrong_answer(task, "noise", f"a senet.data.batch.Batch of {count} images", described(batch))
    return batch


def classes_of(task: Task, batch: Batch) -> Tensor | None:
    """Return a task's class of each image of a batch, or how much each holds of every class, or None.

    Raises:
        UsageError: unless they are (N,) or (N, K) integers.
    """
    classes: Any = task.image_classes(batch)
    if classes is None:
        return None
    whole = isinstance(classes, Tensor) and not classes.is_floating_point() and classes.ndim in (1, 2) and len(classes) == len(batch.images)
    if not whole:
        wanted = "None, a tensor of one integer an image, or one of a row of counts by class an image"
        raise wrong_answer(task, "image_classes", wanted, described(classes))
    return classes


def prediction_of(task: Task, outputs: Any, classes: Sequence[str] | None, *, top_k: int) -> Prediction:
    """Return a task's prediction of one image.

    Raises:
        UsageError: if it has no plain data.
    """
    prediction: Any = task.predict(outputs, classes, top_k=top_k)
    if not callable(getattr(prediction, "to_dict", None)):
        raise wrong_answer(task, "predict", "an object with to_dict", described(prediction))
    return prediction


def metrics_of(task: Task, evaluator: Evaluator) -> dict[str, float]:
    """Return the value of each metric of a task, and of "loss".

    Raises:
        UsageError: if one is missing or no number.
    """
    found: Any = evaluator.compute()
    names = (*(metric.name for metric in task.metrics), "loss")
    if not isinstance(found, Mapping) or not all(isinstance(found.get(name), Real) for name in names):
        raise wrong_answer(task, "evaluator's compute", f"a mapping to a number of each of {', '.join(names)}", described(found))
    return {name: found[name] for name in names}


def tables_of(task: Task, evaluator: Evaluator) -> Tables:
    """Return the tables of an evaluator, empty if it has none; a figure that is not finite becomes None.

    Raises:
        UsageError: if they are something else.
    """
    tables = getattr(evaluator, "tables", None)
    if tables is None:
        return {}
    found: Any = tables()
    wanted = "a mapping table -> row -> column -> number or None"
    if not isinstance(found, Mapping) or not all(isinstance(rows, Mapping) for rows in found.values()):
        raise wrong_answer(task, "evaluator's tables", wanted, described(found))
    if strange := next((row for rows in found.values() for row in rows.values() if not isinstance(row, Mapping)), None):
        raise wrong_answer(task, "evaluator's tables", wanted, described(strange))
    plain = {
        name: {row: {column: _plain(value) for column, value in cells.items()} for row, cells in rows.items()}
        for name, rows in found.items()
    }
    try:
        TABLES.check(plain, "tables")
    except UsageError as error:
        raise wrong_answer(task, "evaluator's tables", wanted, str(error)) from error
    return plain


def curves_of(task: Task, evaluator: Evaluator) -> Curves:
    """Return the curves of an evaluator, empty if it has none.

    Raises:
        UsageError: if they are something else, or not finite.
    """
    curves = getattr(evaluator, "curves", None)
    if curves is None:
        return {}
    found: Any = curves()
    wanted = "a mapping chart -> CurveChart of finite numbers"
    if not isinstance(found, Mapping) or not all(isinstance(chart, CurveChart) for chart in found.values()):
        raise wrong_answer(task, "evaluator's curves", wanted, described(found))
    try:
        CURVES.check(plain_curves(found), "curves")
    except UsageError as error:
        raise wrong_answer(task, "evaluator's curves", wanted, str(error)) from error
    return found


def _plain(value: Any) -> Any:
    """Return a figure as JSON has it."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value


def _has_scalars(values: Any) -> bool:
    return isinstance(values, Mapping) and all(isinstance(value, Tensor) and value.numel() == 1 for value in values.values())


def _is_writable(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def wrong_answer(task: object, method: str, wanted: str, got: str) -> UsageError:
    """Return the error of a task's answer that cannot be used: what was wanted, and what came."""
    return UsageError(f"{type(task).__name__}'s {method} must return {wanted}, got {got}")


def described(value: Any) -> str:
    """Return what kind of value an answer is; of a mapping, its keys with their kinds."""
    if not isinstance(value, Mapping):
        return kind_of(value)
    return f"{{{', '.join(f'{name!r}: {kind_of(part)}' for name, part in value.items())}}}"


def kind_of(value: Any) -> str:
    """Return the type of a value, or the shape of a tensor."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
