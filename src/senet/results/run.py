"""What a finished run came to, as plain frozen data. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class RunResult:
    """Hold the outcome of a run.

    Args:
        folder: the run's folder.
        epochs: epochs that were trained.
        best_epoch: number of epochs behind the weights in best.safetensors.
        top1: its validation accuracy, in percent.
        top5: its validation top-5 accuracy, in percent.
        loss: its validation loss.
        final: the last epoch's row of metrics.csv.
        seconds: time spent in training and validation, over all sessions of the run.
    """

    folder: Path
    epochs: int
    best_epoch: int
    top1: float
    top5: float
    loss: float
    final: Mapping[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self) | {"folder": str(self.folder)}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "RunResult":
        """Build a result from what `to_dict` returned."""
        return cls(**{**tree, "folder": Path(tree["folder"])})

    def table(self) -> "Table":
        """Return a table for the terminal: the best epoch beside the last."""
        from rich.table import Table

        table = Table(title=str(self.folder), title_justify="left")
        for heading in ("", "epoch", "top-1 %", "top-5 %", "val loss"):
            table.add_column(heading, justify="left" if not heading else "right")
        last = self.final
        table.add_row("best", str(self.best_epoch), f"{self.top1:.2f}", f"{self.top5:.2f}", f"{self.loss:.4f}")
        table.add_row("last", str(int(last["epoch"])), f"{last['val_top1']:.2f}", f"{last['val_top5']:.2f}", f"{last['val_loss']:.4f}")
        table.caption = f"{self.epochs} epochs in {self.seconds:.0f} s"
        return table
