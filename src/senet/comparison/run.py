"""A comparison from top to bottom: check, train what is missing, measure, write the result and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from senet.comparison.cases import measure_cases
from senet.comparison.curves import tells_curves, with_curves
from senet.comparison.environment import environment_of
from senet.comparison.measure import measure_costs, measure_excitations
from senet.comparison.missing import check_cluster, orders_of, train_missing
from senet.comparison.parents import with_ancestors, with_parents
from senet.comparison.picture_folder import PictureFolder
from senet.comparison.prepare import PreparedVariant, prepare_variants
from senet.comparison.result_files import ResultFiles
from senet.comparison.reuse import check_found, run_folders
from senet.comparison.variants import Variant, command_line, expand, joined_with
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.recipe import Recipe, load_recipe
from senet.recipe.compress import COMPRESS
from senet.results.comparison import DataFacts, Result, SeedRun, VariantResult
from senet.results.metric import Metric
from senet.results.run_folder import RunFolder
from senet.spec import check_positive
from senet.tasks.pictured import pictured
from senet.training.launch import check_alone
from senet.training.progress import Progress

HISTORY = ("train_", "val_")
"""How the columns of metrics.csv begin that a result keeps."""


class NotFiniteError(Exception):
    """Figure of a run that no mean can be taken of."""

    exit_code = 1


@dataclass(frozen=True)
class Plan:
    """Comparison to be made.

    Args:
        recipe: what its variants share.
        variants: what is compared; the first is the baseline.
        seeds: how many seeds, counted from the recipe's own.
        folder: where its runs, its result and its page lie.
        command: a command that makes the same comparison.
        ending: how the names of its result and page end.
    """

    recipe: Recipe
    variants: tuple[Variant, ...]
    seeds: int
    folder: Path
    command: str
    ending: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(range(self.recipe.seed, self.recipe.seed + self.seeds))

    @property
    def labels(self) -> list[str]:
        """What the variants are called."""
        return [variant.label for variant in self.variants]


def compare(
    recipe: Recipe | str | Path = "digits",
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 3,
    jobs: int | None = None,
    cluster: str | None = None,
    address: str | None = None,
    out: str | Path = "runs",
    report: bool = True,
    progress: bool = True,
) -> Result:
    """Train every variant of a recipe with every seed, and say what the differences support.

    Runs live in `<out>/compare-<recipe>/`, one folder for each variant and seed. A finished run of the same recipe is used as it is, an
    interrupted one goes on exactly where it stopped, so that the same call continues after anything. result.json and report.html are
    written there as well (result-<fields>.json and report-<fields>.html when more than the block is varied), and pictures/ of single images
    beside result.json if the task shows any.

    A variant with `model.compress` begins from the best weights of the one without, of the same seed, and is fine-tuned for an eighth of
    its epochs at a tenth of its learning rate, unless `vary` sets epochs or rate together with it.

    Args:
        recipe: a recipe, its name, or a YAML file.
        vary: dotted or short recipe field -> its values; all are crossed, and the first variant is the baseline. None = plain against SE.
        seeds: how many seeds, counted from the recipe's own.
        jobs: how many runs train at a time, each in a process of its own; results are the same. They share out the GPUs, and it
            pays on a single one that one small network does not fill. A script that asks for more than one calls this below
            `if __name__ == "__main__":`, as its processes import it.
            None = one; on a cluster one for each GPU, or for each machine where there are none.
        cluster: "ray" = runs are tasks of a Ray cluster, on whose machines `out` and the images lie at the same place; a run whose worker
            dies goes on elsewhere. None = on this machine.
        address: that of the cluster, HOST:PORT, or "auto" on one of its machines; None = one of this machine alone, as long as it takes.
        out: where the comparison gets its folder.
        report: whether to write the page.
        progress: whether to show progress on stderr.

    Raises:
        UsageError: if the recipe or a variant cannot work, a run that is there is damaged or was made of something else, or a launcher
            such as torchrun has started several processes that train as one; nothing has been written then.
        Interrupted: after SIGINT or SIGTERM; the same call goes on.
        JobError: if a run in a process of its own fails; it is named, the others are saved, and the same call goes on.
        NotFiniteError: if a run ends with a metric or loss that is no finite number; the runs stay.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    plan = plan_of(recipe, vary, seeds, out)
    return carry_out(plan, jobs=jobs, cluster=cluster, address=address, report=report, progress=progress)


def plan_of(recipe: Recipe, vary: Mapping[str, Sequence[Any]] | None, seeds: int, out: str | Path) -> Plan:
    """Return the comparison that `compare` makes of its arguments."""
    variants = with_parents(expand(recipe, vary), joined_with(COMPRESS, vary))
    folder = Path(out) / f"compare-{recipe.name}"
    check_positive("seeds", seeds)
    return Plan(recipe, tuple(variants), seeds, folder, command_line(recipe, vary, seeds), name_ending(variants))


def carry_out(
    plan: Plan,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    address: str | None = None,
    report: bool = True,
    progress: bool = True,
) -> Result:
    """Train what is missing of a comparison, measure, and write the result and the page: see `compare`."""
    if jobs is not None:
        check_positive("jobs", jobs)
    check_cluster(cluster, address)
    files = ResultFiles(plan.folder, plan.ending, report=report)
    prepared, runs = opened(plan, report=report)
    with Progress(len(prepared) * plan.seeds, enabled=progress) as shown:
        orders = orders_of([one.variant for one in prepared], plan.numbers, plan.folder, shown)
        train_missing(orders, shown, jobs=jobs, cluster=cluster, address=address)
        with files.alone(shown):
            made = files.made_meanwhile(plan.numbers, plan.labels)
            return made or files.write(result_of(plan, prepared[: len(plan.variants)], runs, files.pictures, shown))


def opened(plan: Plan, *, report: bool) -> tuple[list[PreparedVariant], dict[str, list[RunFolder]]]:
    """Check and open what a comparison needs, before anything is trained.

    Returns:
        prepared: its variants, then those that they begin from.
        runs: label of each -> its run folders.
    """
    check_alone()
    if report and find_spec("jinja2") is None:
        raise UsageError("the report needs jinja2: pip install 'senet[report]', or leave the page out (--no-report)")
    trained = with_ancestors(plan.variants)
    prepared = prepare_variants(trained)
    runs = run_folders(trained, plan.numbers, plan.folder)
    check_found(prepared, plan.numbers, runs, plan.folder)
    return prepared, runs


def result_of(
    plan: Plan,
    prepared: Sequence[PreparedVariant],
    runs: Mapping[str, Sequence[RunFolder]],
    pictures: PictureFolder,
    shown: Progress,
) -> Result:
    """Measure the variants of a comparison, whose runs are all finished, and sum up.

    Args:
        plan: the comparison.
        prepared: its variants.
        runs: label of each variant -> its runs; what they began from may be among them.
        pictures: where those of single images go.
        shown: the display.
    """
    labels = plan.labels
    found = {label: tuple(map(seed_run, plan.numbers, runs[label])) for label in labels}
    check_finite(found, prepared[0].task.metrics)
    first = [runs[label][0].weights for label in labels]
    shown.print("timing the networks, in turn")
    costs = measure_costs(prepared, first)
    shown.print("recording excitations")
    panels = [measure_excitations(*entry) for entry in zip(prepared, first, strict=True)]
    if tells_curves(prepared[0]):
        shown.print("evaluating every run for its curves")
        found = {
            label: with_curves(one, found[label], [run.weights for run in runs[label]]) for label, one in zip(labels, prepared, strict=True)
        }
    if pictured(prepared[0].task):
        shown.print("choosing images to show")
    return Result(
        recipe=plan.recipe,
        metrics=prepared[0].task.metrics,
        seeds=plan.numbers,
        variants=tuple(
            VariantResult(variant.label, variant.changes, found[variant.label], cost, panel)
            for variant, cost, panel in zip(plan.variants, costs, panels, strict=True)
        ),
        data=data_facts(prepared[0].source),
        environment=environment_of([run for folders in runs.values() for run in folders]),
        command=plan.command,
        cases=measure_cases(prepared, first, pictures),
    )


def seed_run(seed: int, run: RunFolder) -> SeedRun:
    """Read a finished run."""
    rows = run.metrics()
    history = {name: tuple(row[name] for row in rows) for name in rows[0] if name.startswith(HISTORY)}
    return SeedRun(seed, str(run.path), history, run.tables())


def check_finite(runs: Mapping[str, Sequence[SeedRun]], metrics: Sequence[Metric]) -> None:
    """Raise NotFiniteError for the first run, by variant, whose last epoch has a metric or loss without a finite value."""
    for run in (run for of_variant in runs.values() for run in of_variant):
        for title, column in (*((metric.title, metric.column) for metric in metrics), ("validation loss", "val_loss")):
            if not isfinite(run.last(column)):
                raise NotFiniteError(
                    f"{title} of {run.folder} is {run.last(column)} after the last epoch, so that variants cannot be compared; "
                    f"{column} of its metrics.csv says since when"
                )


def data_facts(source: DataSource) -> DataFacts:
    """Summarise the images."""
    size = (1, source.input.channels, source.input.size, source.input.size)
    return DataFacts(source.name, source.classes, len(source.train), len(source.val), size)


def name_ending(variants: Sequence[Variant]) -> str:
    """Return how the names of a comparison's files end: the fields that are varied beside the block."""
    fields = dict.fromkeys(path.rpartition(".")[2] for variant in variants for path in variant.changes if path != "model.block")
    return "".join(f"-{field}" for field in fields)
