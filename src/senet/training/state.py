"""All that changes while a network trains: what a checkpoint holds, and where in the run it was taken."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from senet.data.loaders import CorruptLog
from senet.results.metric import Metric
from senet.results.run_folder import RunFolder
from senet.results.tables import Tables
from senet.training.checkpoint_form import check_state
from senet.training.saving import CheckpointWriter
from senet.training.schedule import Schedule
from senet.training.step_images import named_images
from senet.training.tally import Figures, Tally

MOST_IN_A_ROW = 50
"""Steps that can be left out one after the other: of weights that are no good any more, no step counts."""


class DivergenceError(Exception):
    """Loss or metric that is not finite."""

    exit_code = 1


class TrainingState:
    """Everything that training changes, and the position: `epoch` and `batch` are the next to train, counted from 0.

    Args:
        fabric: gives the loss scaler of fp16, and joins the counts of several processes.
        model: the network, as it was created (not wrapped).
        optimizer: its optimiser, likewise.
        schedule: learning rate, with what "plateau" remembers.
        average: running average of the weights, or None.
        corrupt: unreadable images met so far.
        images_of: gives the names of this process's images of a step, counted over the run.

    Five values are noted beside it, for whoever goes on: `origin`, what the weights come from, `weights`, the trained ones among that,
    `compressed`, how their network was made smaller, `rate`, how the learning rate goes by the batch, in words, and `changes`, in which of
    it the run was changed on its way, in words. `best_told` is what the task told after the best epoch, as tables.json has it; None of a
    checkpoint that does not hold it. `writer` has the checkpoint that is on its way to the disk, `parts` is
    in how many a process takes its images of a step.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        average: AveragedModel | None,
        corrupt: CorruptLog,
        images_of: Callable[[int], Sequence[str]] = lambda step: (),
    ) -> None:
        self._fabric = fabric
        self._corrupt = corrupt
        self._images_of = images_of
        self._schedule = schedule
        self._optimizer = optimizer
        self.writer = CheckpointWriter(fabric.device)
        self.origin: dict[str, Any] = {}
        self.weights: Mapping[str, Any] | None = None
        self.compressed: Mapping[str, Any] | None = None
        self.rate = ""
        self.changes: list[str] = []
        self._parts: dict[str, Any] = {
            "model": model,
            "optimizer": optimizer,
            "schedule": schedule,
            "scaler": fabric.strategy.precision,
            **({} if average is None else {"average": average}),
        }
        self.epoch = 0
        self.batch = 0
        self.parts = 1
        self.tally = Tally()
        self.rows: list[dict[str, float]] = []
        self.skipped = self._in_a_row = 0
        self.best: dict[str, float] | None = None
        self.best_told: dict[str, Any] | None = None
        self._kept = False
        self._clock = time.perf_counter()

    @property
    def step(self) -> int:
        """The next step, counted over the whole run."""
        return self.epoch * self._schedule.steps_per_epoch + self.batch

    def begin_pass(self) -> None:
        """Start the clock of a pass, or part of one, over the training images."""
        self._clock = time.perf_counter()

    def count_step(self, figures: Figures, images: int) -> None:
        """Note a step that was just taken, over so many images, and move on to the next."""
        self.tally.add(figures, images)
        self._in_a_row = 0
        self.batch += 1

    def skip_step(self, what: str) -> None:
        """Note a step that was left out, and move on to the next.

        Args:
            what: of it was not finite.

        Raises:
            DivergenceError: if as many before it were left out, too, or all of an epoch.
        """
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        if self._in_a_row >= min(MOST_IN_A_ROW, self._schedule.steps_per_epoch):
            raise self._diverged(f"the {what} of the last {self._in_a_row} steps, which were left out,", self.step)
        self.batch += 1

    def collect(self) -> None:
        """Count the steps whose figures have arrived; the device is not waited for.

        Raises:
            DivergenceError: if the loss of one was not finite; it names the step.
        """
        self._take_in(self.tally.collect)

    def flush(self) -> None:
        """Wait for the device and count all steps that were taken.

        Raises:
            DivergenceError: if the loss of one was not finite; it names the step.
        """
        self._take_in(self.tally.flush)

    def _take_in(self, figures: Callable[[], int | None]) -> None:
        first = self.step - self.tally.waiting
        bad = figures()
        now = time.perf_counter()
        self.tally.seconds += now - self._clock
        self._clock = now
        if bad is not None:
            raise self._diverged("the training loss", first + bad, self._images_of(first + bad))

    def check_finite(self, row: Mapping[str, float]) -> None:
        """Look at the figures of a finished epoch before anything is written.

        Raises:
            DivergenceError: if one is not finite; it is named.
        """
        for name, value in row.items():
            if not math.isfinite(value):
                raise self._diverged(name, self.step - 1)

    def end_epoch(self, row: dict[str, float], primary: Metric, tables: Tables = MappingProxyType({})) -> bool:
        """Add a finished epoch's row and move on to the next epoch; return whether it is the best so far.

        Args:
            row: the row of metrics.csv.
            primary: the metric that decides; the lower loss decides a tie.
            tables: what the task told beside its metrics.
        """
        self.rows.append(row)
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
        if self.best is not None and _rank(row, primary) <= _rank(self.best, primary):
            return False
        self.best, self.best_told = row, {"epoch": self.epoch, "tables": dict(tables)}
        return True

    def counts(self) -> Tally:
        """Return the epoch's counts so far, those of all processes together."""
        return self.tally if self._fabric.world_size == 1 else self.tally.pooled(self._fabric.device)

    def begin_save(self, run: RunFolder) -> None:
        """Begin to write a checkpoint of the state as it is now; all processes call this, the first one writes.

        Raises:
            FolderLostError, NotWrittenError: of the checkpoint before.
        """
        self.flush()
        counts = self.counts()
        if self._fabric.is_global_zero:
            place = {"epoch": self.epoch, "batch": self.batch, "tally": counts.state_dict()}
            past = {"rows": self.rows, "best": self.best, "best_told": self.best_told}
            met = {"parts": self.parts, "corrupt": sorted(self._corrupt.names), "skipped": self.skipped}
            about = {"origin": self.origin or None, "changes": self.changes}
            self.writer.begin(
                run, {name: part.state_dict() for name, part in self._parts.items()} | place | past | met | about, self._still()
            )
        self._kept = True

    def _still(self) -> Iterator[Tensor]:
        """Yield the tensors that only the end of a step changes, unless a user's network does; what is not trained may be its own means."""
        for group in self._optimizer.param_groups:
            yield from (parameter for parameter in group["params"] if parameter.requires_grad)
        if (average := self._parts.get("average")) is not None:
            yield from average.parameters()
        for tensors in self._optimizer.state.values():
            yield from (tensor for tensor in tensors.values() if isinstance(tensor, Tensor))

    def save(self, run: RunFolder) -> None:
        """Write a checkpoint, and wait until it is on the disk.

        Raises:
            FolderLostError: if the run's folder is not there any more.
            NotWrittenError: if it cannot be written; the checkpoints are as they were.
        """
        self.begin_save(run)
        self.writer.finish()

    def restore(self, saved: Mapping[str, Any], primary: Metric, place: str) -> None:
        """Take up what `save` wrote, of a task with this primary metric.

        Args:
            saved: what was read of a checkpoint.
            primary: decides which epoch is the best.
            place: the file, as errors name it.

        Raises:
            UsageError: if it does not fit this run.
        """
        check_state(saved, self._parts, ("epoch", "seconds", "val_loss", primary.column), place)
        options = [{name: value for name, value in group.items() if name not in ("params", "lr")} for group in self._optimizer.param_groups]
        for name, part in self._parts.items():
            part.load_state_dict(saved[name])
        for group, own in zip(self._optimizer.param_groups, options, strict=True):
            group.update(own)  # the recipe's, should they have changed
        self.epoch, self.batch = saved["epoch"], saved["batch"]
        self.tally = Tally.restored(saved["tally"], primary.name)
        self.skipped, self._in_a_row = saved.get("skipped", 0), 0 if self.tally.images else self.batch
        if not self._fabric.is_global_zero:  # the first holds the sums of all
            self.tally = Tally(dict.fromkeys(self.tally.sums, 0.0))
        self.rows = [{**row, "skipped": row.get("skipped", 0)} for row in saved["rows"]]  # which earlier versions did not count
        self.best = saved["best"]
        self.best_told = saved.get("best_told")
        self.changes = list(saved.get("changes", ()))
        self._kept = True
        self._corrupt.add(saved["corrupt"])

    def _diverged(self, what: str, step: int, images: Sequence[str] = ()) -> DivergenceError:
        kept = "last.ckpt is from before" if self._kept else "nothing has been saved yet"
        return DivergenceError(
            f"{what} is not finite at epoch {self.epoch + 1}, step {step + 1}, learning rate {self._schedule.rate(step):g}; {kept}. "
            f"Try a lower optim.lr, schedule.warmup_steps or optim.clip_norm"
            + (f"; --training.nonfinite skip leaves such a step out. Its images: {named_images(images)}" if images else "")
        )


def _rank(row: Mapping[str, float], primary: Metric) -> tuple[float, float]:
    """Return what the best epoch has most of; a figure that is not a number is behind all others."""
    value = row[primary.column]
    ranks = (value if primary.higher_is_better else -value, -row["val_loss"])
    return tuple(-math.inf if math.isnan(rank) else rank for rank in ranks)  # pyright: ignore[reportReturnType]
