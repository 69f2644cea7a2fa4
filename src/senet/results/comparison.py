"""What a comparison found, as frozen data: runs, costs, excitations. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.errors import UsageError
from senet.measuring.paired import Difference, paired_difference
from senet.results.cases import Cases
from senet.results.cost import VariantCost
from senet.results.curves import Curves
from senet.results.metric import Metric
from senet.results.tables import Tables, compared_tables
from senet.schema import read_json

if TYPE_CHECKING:
    from rich.table import Table

    from senet.analysis.excitation import Panel
    from senet.recipe import Recipe


@dataclass(frozen=True)
class SeedRun:
    """Finished run of one variant with one seed.

    Args:
        seed: its seed.
        folder: its run folder.
        history: column of metrics.csv -> one value an epoch; those named train_... and val_...
        tables: what the task told of parts of the validation images after the last epoch.
        curves: what it tells of them in curves with the run's best weights.
    """

    seed: int
    folder: str
    history: Mapping[str, tuple[float, ...]]
    tables: Tables = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)

    def last(self, column: str) -> float:
        """Return a column's value after the last epoch: no epoch was picked by looking at it."""
        return self.history[column][-1]

    def best(self, metric: Metric) -> float:
        """Return the best value of all epochs on validation images."""
        return metric.best(self.history[metric.column])


@dataclass(frozen=True)
class VariantResult:
    """Findings about one variant.

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
    cost: VariantCost
    excitations: "tuple[Panel, ...]" = ()

    def last(self, column: str) -> tuple[float, ...]:
        """Return a column's value after the last epoch of each run."""
        return tuple(run.last(column) for run in self.runs)


@dataclass(frozen=True)
class DataFacts:
    """Images that the runs were trained and validated on.

    Args:
        name: the source.
        classes: names of the classes; empty where images have none.
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
    """Outcome of a comparison.

    Args:
        recipe: the recipe that all variants share; `VariantResult.changes` says what differs.
        metrics: by what the task judges predictions; the first is primary: sentences, differences and charts speak of it.
        seeds: the seeds, each trained once for every variant.
        variants: the variants; the first is the baseline of every difference and ratio.
        data: the images.
        environment: what it ran on: versions, device, date.
        command: a command that gives this result again.
        cases: the best, the median and the worst validation image; None where the task shows no single images.
        json: where this result was written; None if it was not.
        page: where its page was written.
    """

    recipe: "Recipe"
    metrics: tuple[Metric, ...]
    seeds: tuple[int, ...]
    variants: tuple[VariantResult, ...]
    data: DataFacts
    environment: Mapping[str, str]
    command: str
    cases: Cases | None = None
    json: Path | None = None
    page: Path | None = None

    @property
    def primary(self) -> Metric:
        """The metric that the comparison is about."""
        return self.metrics[0]

    @property
    def baseline(self) -> VariantResult:
        """The variant that all others are compared with."""
        return self.variants[0]

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Label of every variant but the baseline -> its paired difference in the primary metric; its sign is that of the values."""
        column = self.primary.column
        return {variant.label: paired_difference(variant.last(column), self.baseline.last(column)) for variant in self.variants[1:]}

    @property
    def tables(self) -> dict[str, tuple[Tables, ...]]:
        """Label of every variant -> the tables of its runs, one a seed."""
        return {variant.label: tuple(run.tables for run in variant.runs) for variant in self.variants}

    @cached_property
    def summary(self) -> str:
        """What the data supports, in a few sentences."""
        from senet.results.summary import summarise

        return summarise(self)

    def table(self) -> "Table":
        """Return the result as a rich table, one row a variant."""
        from senet.results.table import result_table

        return result_table(self)

    def part_tables(self) -> "list[Table]":
        """Return what the task tells of parts of the images as rich tables, one column a variant; mostly none."""
        return compared_tables(self.tables, self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, ready for JSON."""
        from senet.results.comparison_json import comparison_tree

        return comparison_tree(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Result":
        """Build a result from what `to_dict` returned."""
        from senet.results.comparison_json import read_comparison

        return read_comparison(tree)

    @classmethod
    def read(cls, path: str | Path) -> "Result":
        """Read a result.json of `senet compare`.

        Raises:
            UsageError: if the file is something else.
        """
        from senet.results.comparison_json import COMPARISON

        try:
            return replace(cls.from_dict(read_json(Path(path).read_bytes(), "it", COMPARISON)), json=Path(path))
        except (OSError, UsageError) as error:
            raise UsageError(
                f"{str(path)!r} is not the result of a comparison; name a result.json that `senet compare` wrote ({error})"
            ) from error
