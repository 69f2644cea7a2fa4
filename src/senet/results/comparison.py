"""What a comparison found, as frozen data: runs, costs, excitations; a table for the terminal and plain data for JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from senet.measuring.paired import Difference, paired_difference, spread
from senet.measuring.timing import Ratio, Timing

if TYPE_CHECKING:
    from rich.table import Table

    from senet.analysis.excitation import Panel
    from senet.recipe import Recipe


@dataclass(frozen=True)
class SeedRun:
    """Hold one finished run.

    Args:
        seed: its seed.
        folder: its run folder.
        history: column of metrics.csv -> one value an epoch.
    """

    seed: int
    folder: str
    history: Mapping[str, tuple[float, ...]]

    @property
    def top1(self) -> float:
        """Validation top-1 after the last epoch, in percent: no epoch was picked by looking at it."""
        return self.history["val_top1"][-1]

    @property
    def best_top1(self) -> float:
        """Highest validation top-1 of all epochs, in percent."""
        return max(self.history["val_top1"])

    @property
    def loss(self) -> float:
        """Validation loss after the last epoch."""
        return self.history["val_loss"][-1]


@dataclass(frozen=True)
class Cost:
    """Hold what a variant costs; ratios are to the baseline, measured interleaved with it.

    Args:
        params: number of parameters.
        macs: multiply-accumulates for one image.
        latency: seconds of one forward pass of one image, in evaluation mode.
        step: seconds of one training step of one batch.
        latency_ratio: latency over the baseline's.
        step_ratio: step over the baseline's.
    """

    params: int
    macs: int
    latency: Timing
    step: Timing
    latency_ratio: Ratio
    step_ratio: Ratio


@dataclass(frozen=True)
class VariantResult:
    """Hold all that was found about one variant.

    Args:
        label: what tables and charts call it.
        changes: dotted recipe field -> value.
        runs: one run a seed, in the order of the comparison's seeds.
        cost: its cost.
        excitations: what the paper's Fig. 6 and 7 show, of the first seed's best weights on the validation images; empty without gates.
    """

    label: str
    changes: Mapping[str, Any]
    runs: tuple[SeedRun, ...]
    cost: Cost
    excitations: "tuple[Panel, ...]" = ()

    @cached_property
    def top1(self) -> tuple[float, ...]:
        """Validation top-1 after the last epoch of each run, in percent."""
        return tuple(run.top1 for run in self.runs)


@dataclass(frozen=True)
class DataFacts:
    """Say what the runs were trained and validated on.

    Args:
        name: the source.
        classes: names of the classes.
        train_images: number of training images.
        val_images: number of validation images.
        input_size: (1, C, H, W) of one image as the network sees it.
    """

    name: str
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    input_size: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """Hold a finished comparison.

    Args:
        recipe: the recipe that all variants share; `VariantResult.changes` says what differs.
        seeds: the seeds, each trained once for every variant.
        variants: the variants; the first is the baseline of every difference and ratio.
        data: the images.
        environment: what it ran on: versions, device, date.
        command: a command that gives this result again.
        json: where this result was written; None if it was not.
        page: where its page was written.
    """

    recipe: "Recipe"
    seeds: tuple[int, ...]
    variants: tuple[VariantResult, ...]
    data: DataFacts
    environment: Mapping[str, str]
    command: str
    json: Path | None = None
    page: Path | None = None

    @property
    def baseline(self) -> VariantResult:
        """The variant that all others are compared with."""
        return self.variants[0]

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Label of every variant but the baseline -> its paired difference in top-1, in percentage points."""
        return {variant.label: paired_difference(variant.top1, self.baseline.top1) for variant in self.variants[1:]}

    def summary(self) -> str:
        """Return what the data supports, in a few sentences."""
        from senet.results.summary import summarise

        return summarise(self)

    def table(self) -> "Table":
        """Return the result as a rich table, one row a variant."""
        from senet.results.table import result_table

        return result_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, ready for JSON."""
        return {
            "summary": self.summary(),
            "baseline": self.baseline.label,
            "seeds": list(self.seeds),
            "variants": [self._variant_dict(variant) for variant in self.variants],
            "data": vars(self.data) | {"classes": list(self.data.classes), "input_size": list(self.data.input_size)},
            "environment": dict(self.environment),
            "command": self.command,
            "recipe": self.recipe.to_dict(),
        }

    def _variant_dict(self, variant: VariantResult) -> dict[str, Any]:
        difference = self.differences.get(variant.label)
        cost = variant.cost
        return {
            "label": variant.label,
            "changes": dict(variant.changes),
            "top1": {"mean": fmean(variant.top1), "sd": spread(variant.top1), "by_seed": list(variant.top1)},
            "difference": None if difference is None else vars(difference) | {"finding": difference.finding},
            "best_top1": {"mean": fmean(run.best_top1 for run in variant.runs)},
            "loss": {"mean": fmean(run.loss for run in variant.runs), "sd": spread([run.loss for run in variant.runs])},
            "cost": {
                "params": cost.params,
                "macs": cost.macs,
                "params_ratio": cost.params / self.baseline.cost.params,
                "macs_ratio": cost.macs / self.baseline.cost.macs,
                "latency": cost.latency.to_dict(),
                "latency_ratio": cost.latency_ratio.to_dict(),
                "step": cost.step.to_dict(),
                "step_ratio": cost.step_ratio.to_dict(),
            },
            "runs": [{"seed": run.seed, "folder": run.folder, "history": dict(run.history)} for run in variant.runs],
            "excitations": [asdict(panel) for panel in variant.excitations],
        }
