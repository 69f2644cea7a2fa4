"""What a finished run came to, as plain frozen data. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.errors import UsageError
from senet.results.metric import ACCURACIES, METRIC, Metric
from senet.schema import finite, integer, items, record, table, text
from senet.weights.loaded import LOADED

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
        weights: the trained weights that it began from, see `LoadedWeights.to_dict`; None = all were drawn.
    """

    folder: Path
    epochs: int
    best_epoch: int
    metrics: Mapping[str, float]
    final: Mapping[str, float]
    seconds: float
    about: tuple[Metric, ...]
    changes: tuple[str, ...] = ()
    weights: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; the metrics stand beside the other fields."""
        fields = {name: getattr(self, name) for name in ("epochs", "best_epoch", "final", "seconds")}
        others = ({"changes": list(self.changes)} if self.changes else {}) | ({"weights": dict(self.weights)} if self.weights else {})
        return {"folder": str(self.folder), **self.metrics, **fields, "about": [metric.to_dict() for metric in self.about], **others}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], where: str = "result") -> "RunResult":
        """Build a result from what `to_dict` returned; one without `about` holds accuracies.

        Args:
            tree: plain data.
            where: where they stand, as errors name it.

        Raises:
            UsageError: if they are something else.
        """
        RUN_RESULT.check(tree, where)
        fields = {name: tree[name] for name in ("epochs", "best_epoch", "final", "seconds")}
        metrics = {name: value for name, value in tree.items() if name not in RESERVED_METRICS}
        about = tree.get("about")
        described = [metric for metric in ACCURACIES if metric.name in metrics] if about is None else list(map(Metric.from_dict, about))
        for name in (*(metric.name for metric in described), "loss"):
            if name not in metrics or f"val_{name}" not in tree["final"]:
                raise UsageError(f"{where}: {name!r} is missing, of the best or of the last epoch")
        if not described:
            raise UsageError(f"{where}: it has no metric")
        return cls(
            folder=Path(tree["folder"]),
            metrics=metrics,
            about=tuple(described),
            changes=tuple(tree.get("changes", ())),
            weights=tree.get("weights"),
            **fields,
        )

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


RESERVED_METRICS = frozenset(RunResult.__dataclass_fields__) | {"images", "corrupt", "tables", "curves"}
"""Names that a metric cannot have: they mean something else in the plain data of a run or an evaluation."""

RUN_RESULT = record(
    {
        "folder": text(10_000),
        "epochs": integer(1, 10**6),
        "best_epoch": integer(1, 10**6),
        "final": table(text(200), finite()),
        "seconds": finite(0),
        "about": items(METRIC, 1, 100),
        "changes": items(text(10_000), high=10**6),
        "weights": LOADED,
    },
    needed=("folder", "epochs", "best_epoch", "final", "seconds"),
    others=finite(),
)
"""The rule for a run's result as plain data; other names are those of metrics."""
