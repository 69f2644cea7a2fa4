"""How good trained networks are on validation images: one view or several of each, one network or the average of several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchmetrics import SumMetric

from senet.data.batch import Batch
from senet.data.loaders import CorruptLog, DataError, eval_loader
from senet.data.source import DataSource
from senet.data.views import Views
from senet.recipe import DataRecipe
from senet.results.curves import Curves, plain_curves
from senet.results.metric import Metric
from senet.results.tables import Tables, terminal_tables
from senet.surgery.preserve import evaluating
from senet.tasks.answers import average_of, curves_of, evaluator_of, metrics_of, open_source, tables_of
from senet.tasks.task import Evaluator, Task
from senet.training.members import Networks, check_classes, choose_device, common_input, common_task, load_members

if TYPE_CHECKING:
    from rich.table import Table


MOST_COLUMNS = 10
"""Figures that stand beside each other in a terminal of 80 columns; more stand below each other."""


@dataclass(frozen=True)
class Evaluation:
    """Outcome of an evaluation.

    Args:
        metrics: the name of each metric and "loss" -> value.
        images: how many images were evaluated.
        corrupt: names of those that could not be read.
        about: the metrics of the task; the first one is primary.
        tables: what the task tells of parts of the images, see `senet.results.tables.Tables`.
        curves: what it tells in curves, see `senet.results.curves.CurveChart`.
    """

    metrics: dict[str, float]
    images: int
    corrupt: tuple[str, ...]
    about: tuple[Metric, ...]
    tables: Tables = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; the metrics stand beside the other fields."""
        tables = {"tables": self.tables} if self.tables else {}
        curves = {"curves": plain_curves(self.curves)} if self.curves else {}
        return {**self.metrics, "images": self.images, "corrupt": list(self.corrupt), **tables, **curves}

    def part_tables(self) -> "list[Table]":
        """Return what the task tells of parts of the images, as rich tables; mostly none."""
        return terminal_tables(self.tables, self.about)

    def table(self) -> "Table":
        """Return a table for the terminal."""
        from rich.table import Table

        table = Table()
        cells = {"images": str(self.images)}
        cells |= {f"{metric.title} {metric.unit}".rstrip(): f"{self.metrics[metric.name]:.{metric.decimals}f}" for metric in self.about}
        primary = self.about[0]
        if primary.accuracy:
            cells[f"{primary.title} error {primary.unit}"] = f"{100 - self.metrics[primary.name]:.{primary.decimals}f}"
        cells["loss"] = f"{self.metrics['loss']:.4f}"
        if len(cells) > MOST_COLUMNS:
            table.add_column("metric")
            table.add_column("value", justify="right")
            for heading, value in cells.items():
                table.add_row(heading, value)
        else:
            for heading in cells:
                table.add_column(heading, justify="right")
            table.add_row(*cells.values())
        table.caption = f"{len(self.corrupt)} images could not be read: {', '.join(self.corrupt)}" if self.corrupt else None
        return table


def evaluate(
    models: Networks,
    data: DataSource | DataRecipe,
    *,
    task: str | Task | None = None,
    crops: str = "centre",
    scales: Sequence[int] | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str | None = None,
    changes: Mapping[str, Any] | None = None,
    watch: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluation:
    """Measure a network, or the average of several networks' predictions, on validation images.

    Args:
        models: networks, weights files or run folders. What a file says about its input wins over what the data say.
        data: a source, or the recipe to open one.
        task: what they predict, as a task or its name; None = the task that their files name.
        crops: "centre", or "ten": corners and centre, each mirrored too.
        scales: shorter sides, in pixels, to which images are resized before they are cropped; predictions are averaged over all views.
        size: side of the crop, in pixels; None = the network's. Anything that the network accepts.
        batch_size: images in a batch; None = the recipe's.
        workers: loader processes; None = the recipe's.
        device: where to compute; None = where the network is, for files a GPU if there is one.
        changes: fields of the task's own part of the recipe instead of those that the networks were trained with, see `predict`.
        watch: passes the batches on, e.g. to show progress.

    Raises:
        UsageError: if networks and data do not belong together, a scale is below the size, or weights name a task of a user's file.
        DataError: if more than data.max_corrupt of the images cannot be read, or worker processes fail.
    """
    device = choose_device(models, device)
    members = load_members(models, device)
    task = common_task(members, task, changes)
    recipe = data if isinstance(data, DataRecipe) else DataRecipe()
    source = open_source(task, data) if isinstance(data, DataRecipe) else data
    check_classes(members, source.classes)
    recipe = replace(recipe, eval_batch_size=batch_size or recipe.eval_batch_size, workers=recipe.workers if workers is None else workers)
    source = replace(source, input=common_input(members, source.input))
    batches = eval_loader(source, recipe, task, views=Views(crops, tuple(scales) if scales else None, size))
    corrupt = CorruptLog(recipe.max_corrupt, len(source.val))
    models, evaluator = [member.model for member in members], evaluator_of(task, source, device)
    with closing(batches):
        return score(task, models, evaluator, watch(batches), device=device, corrupt=corrupt)


def score(
    task: Task,
    models: Sequence[nn.Module],
    evaluator: Evaluator,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    corrupt: CorruptLog,
) -> Evaluation:
    """Measure networks together on batches; several processes pool what each saw of its share.

    Args:
        task: what they predict.
        models: the networks; every module of them is put back to its own mode afterwards.
        evaluator: a fresh one of the task, on the device.
        batches: what to measure them on.
        device: where the batches go.
        corrupt: takes note of unreadable images, which are left out.

    Raises:
        DataError: if none can be read.
    """
    images = SumMetric(nan_strategy="disable").to(device)  # pools the counts of several processes
    own = 0
    with evaluating(nn.ModuleList(models)), torch.inference_mode():
        for batch in batches:
            corrupt.add(batch.corrupt)
            if not len(batch.images):
                continue
            there = batch.to(device)
            evaluator.update(average_of(task, models, there), there)
            own += len(batch.images)
    images.update(own)  # once: a number sent to the device is waited for
    if not (seen := int(images.compute())):
        raise DataError("not one validation image can be read, so that nothing can be measured; `senet doctor --data-root DIR` says why")
    metrics = metrics_of(task, evaluator)
    return Evaluation(metrics, seen, tuple(sorted(corrupt.names)), task.metrics, tables_of(task, evaluator), curves_of(task, evaluator))
