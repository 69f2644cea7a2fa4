"""What a finished run came to, as plain frozen data. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.results.metric import ACCURACIES, Metric

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Args:
        folder: the run's folder.
        epochs: epochs that were trained.
        best_epoch: number of epochs behind the weights in best.safetensors.
        metrics: what these weights reach on the validation images: the name of each metric and "loss" -> value.
        final: the last epoch's row of metrics.csv.
        seconds: time spent in training and validation, over all sessions of the run.
        about: the metrics of the task; the first one is primary.
        changes: what was changed between sessions of the run, and in which epoch, in words.
    """

    folder: Path
    epochs: int
    best_epoch: int
    metrics: Mapping[str, float]
    final: Mapping[str, float]
    seconds: float
    about: tuple[Metric, ...]
    changes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; the metrics stand beside the other fields."""
        fields = {name: getattr(self, name) for name in ("epochs", "best_epoch", "final", "seconds")}
        changes = {"changes": list(self.changes)} if self.changes else {}
        return {"folder": str(self.folder), **self.metrics, **fields, "about": [metric.to_dict() for metric in self.about], **changes}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "RunResult":
        """Build a result from what `to_dict` returned; one without `about` holds accuracies."""
        fields = {name: tree[name] for name in ("epochs", "best_epoch", "final", "seconds")}
        metrics = {name: value for name, value in tree.items() if name not in RESERVED_METRICS}
        about = tree.get("about")
        described = [metric for metric in ACCURACIES if metric.name in metrics] if about is None else map(Metric.from_dict, about)
        return cls(folder=Path(tree["folder"]), metrics=metrics, about=tuple(described), changes=tuple(tree.get("changes", ())), **fields)

    def table(self) -> "Table":
        """Return a table for the terminal: the best epoch beside the last."""
        from rich.table import Table

        table = Table(title=str(self.folder), title_justify="left")
        headings = [f"{metric.title} {metric.unit}".rstrip() for metric in self.about]
        for heading in ("", "epoch", *headings, "val loss"):
            table.add_column(heading, justify="left" if not heading else "right")
        last = {name: self.final[f"val_{name}"] for name in self.metrics}
        for name, epoch, values in (("best", self.best_epoch, self.metrics), ("last", int(self.final["epoch"]), last)):
            table.add_row(
                name, str(epoch), *(f"{values[metric.name]:.{metric.decimals}f}" for metric in self.about), f"{values['loss']:.4f}"
            )
        table.caption = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''} in {self.seconds:.0f} s"
        return table


RESERVED_METRICS = frozenset(RunResult.__dataclass_fields__) | {"images", "corrupt"}
"""Names that a metric cannot have: they mean something else in the plain data of a run or an evaluation."""
