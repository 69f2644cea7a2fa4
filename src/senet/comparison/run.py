"""A comparison from top to bottom: check, train what is missing, measure, write the result and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

from senet.atomic import write_text
from senet.comparison.cases import measure_cases
from senet.comparison.curves import tells_curves, with_curves
from senet.comparison.environment import environment_of
from senet.comparison.measure import measure_costs, measure_excitations
from senet.comparison.parents import with_ancestors, with_parents
from senet.comparison.picture_folder import PictureFolder
from senet.comparison.prepare import prepare_variants
from senet.comparison.reuse import check_found, recipes_of, run_folders
from senet.comparison.side_by_side import GO_ON, train_side_by_side
from senet.comparison.variants import Variant, command_line, expand, joined_with
from senet.comparison.worker import RunOrder
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.recipe import Recipe, load_recipe
from senet.recipe.compress import COMPRESS
from senet.results.comparison import DataFacts, Result, SeedRun, VariantResult
from senet.results.metric import Metric
from senet.results.run_folder import RunFolder
from senet.spec import check_positive
from senet.tasks.pictured import pictured
from senet.training.interruption import Interrupted
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
        ending: how the names of its result and page end; None = by the fields that are varied beside the block.
    """

    recipe: Recipe
    variants: tuple[Variant, ...]
    seeds: int
    folder: Path
    command: str
    ending: str | None = None


def compare(
    recipe: Recipe | str | Path = "digits",
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 3,
    jobs: int = 1,
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
        jobs: how many runs train at a time, each in a process of its own; results are the same. It pays on a GPU that one small network
            does not fill. A script that asks for more than one calls this below `if __name__ == "__main__":`, as its processes import it.
        out: where the comparison gets its folder.
        report: whether to write the page.
        progress: whether to show progress on stderr.

    Raises:
        UsageError: if the recipe or a variant cannot work, or a run that is there is damaged or was made of something else; nothing has
            been written then.
        Interrupted: after SIGINT or SIGTERM; the same call goes on.
        JobError: if a run in a process of its own fails; it is named, the others are saved, and the same call goes on.
        NotFiniteError: if a run ends with a metric or loss that is no finite number; the runs stay.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    variants = with_parents(expand(recipe, vary), joined_with(COMPRESS, vary))
    folder = Path(out) / f"compare-{recipe.name}"
    plan = Plan(recipe, tuple(variants), check_positive("seeds", seeds), folder, command_line(recipe, vary, seeds))
    return carry_out(plan, jobs=jobs, report=report, progress=progress)


def carry_out(plan: Plan, *, jobs: int = 1, report: bool = True, progress: bool = True) -> Result:
    """Train what is missing of a comparison, measure, and write the result and the page: see `compare`."""
    recipe, variants, seeds, folder, jobs = plan.recipe, plan.variants, plan.seeds, plan.folder, check_positive("jobs", jobs)
    if report and find_spec("jinja2") is None:
        raise UsageError("the report needs jinja2: pip install 'senet[report]', or leave the page out (--no-report)")
    ending = name_ending(variants) if plan.ending is None else plan.ending
    trained = with_ancestors(variants)
    prepared = prepare_variants(trained)
    numbers = tuple(range(recipe.seed, recipe.seed + seeds))
    runs = run_folders(trained, numbers, folder)
    check_found(prepared, numbers, runs, folder)

    with Progress(len(trained) * seeds, enabled=progress) as shown:
        train_missing(orders_of(trained, numbers, folder, shown), shown, jobs=jobs)
        prepared = prepared[: len(variants)]
        found = {variant.label: tuple(map(seed_run, numbers, runs[variant.label])) for variant in variants}
        check_finite(found, prepared[0].task.metrics)
        first = [runs[variant.label][0].weights for variant in variants]
        shown.print("timing the networks, in turn")
        costs = measure_costs(prepared, first)
        shown.print("recording excitations")
        panels = [measure_excitations(*entry) for entry in zip(prepared, first, strict=True)]
        if tells_curves(prepared[0]):
            shown.print("evaluating every run for its curves")
            found = {
                one.variant.label: with_curves(one, found[one.variant.label], [run.weights for run in runs[one.variant.label]])
                for one in prepared
            }
        if pictured(prepared[0].task):
            shown.print("choosing images to show")
        pictures = PictureFolder(folder / f"pictures{ending}")
        cases = measure_cases(prepared, first, pictures)

    result = Result(
        recipe=recipe,
        metrics=prepared[0].task.metrics,
        seeds=numbers,
        variants=tuple(
            VariantResult(variant.label, variant.changes, found[variant.label], cost, panel)
            for variant, cost, panel in zip(variants, costs, panels, strict=True)
        ),
        data=data_facts(prepared[0].source),
        environment=environment_of([run for folders in runs.values() for run in folders]),
        command=plan.command,
        cases=cases,
    )
    written = write_result(result, folder, ending, report=report)
    pictures.keep(cases.files if cases else ())
    return written


def orders_of(variants: Sequence[Variant], seeds: Sequence[int], folder: Path, progress: Progress) -> list[list[RunOrder]]:
    """Return the runs that are not finished, seed by seed, so that an early end leaves whole pairs; finished ones are shown as skipped.

    Returns:
        First what begins from its recipe, then what begins from a run of that, and so on.
    """
    orders: dict[int, list[RunOrder]] = {generation: [] for generation in range(1 + max(variant.generation for variant in variants))}
    runs = run_folders(variants, seeds, folder)
    for place, variant in product(range(len(seeds)), variants):
        run, label = runs[variant.label][place], f"{variant.label}, seed {place + 1}/{len(seeds)}"
        if run.is_finished():
            progress.skip(label)
        else:
            orders[variant.generation].append(RunOrder(label, recipes_of(variant, seeds, folder)[place], run))
    return list(orders.values())


def train_missing(orders: Sequence[Sequence[RunOrder]], progress: Progress, *, jobs: int = 1) -> None:
    """Train runs, each list of them when the one before is done; up to `jobs` of a list at a time."""
    for together in orders:
        if min(jobs, len(together)) > 1:
            train_side_by_side(together, jobs, progress)
            continue
        for order in together:
            try:
                order.train(progress)
            except Interrupted as stop:
                raise Interrupted(stop.signum, GO_ON) from None


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


def write_result(result: Result, folder: Path, ending: str, *, report: bool) -> Result:
    """Write result.json and, if asked, the page; return the result with their places."""
    written, page = folder / f"result{ending}.json", folder / f"report{ending}.html"
    result = replace(result, json=written, page=page if report else None)
    write_text(written, json_text(result.to_dict(), indent=1) + "\n")
    if report:
        from senet.report.page import render

        write_text(page, render(result))
    return result
