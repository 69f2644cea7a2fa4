"""A comparison as plain data for result.json, and back. No torch until excitations are read."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any

from senet.errors import UsageError
from senet.measuring.paired import spread
from senet.recipe import build_recipe
from senet.results.cases import CASES, Cases
from senet.results.comparison import DataFacts, Result, SeedRun, VariantResult
from senet.results.cost import VariantCost
from senet.results.curves import CURVES, plain_curves, read_curves
from senet.results.metric import ACCURACIES, METRIC, Metric
from senet.results.tables import TABLES
from senet.schema import FLAG, Requirement, finite, integer, items, plain_data, record, table, text

if TYPE_CHECKING:
    from senet.analysis.excitation import Panel


_TITLE, _PLAIN = text(1000), plain_data(allow_nan=True)
_SEED, _COUNT = integer(-(2**63), 2**63), integer(0, 2**63)
_HISTORY = Requirement("a number", lambda value: type(value) in (int, float))  # an epoch in the middle may have had no finite figure
_CURVE = record({"mean": items(finite(), high=10**5), "std": items(finite(), high=10**5)}, needed=("mean", "std"))
_RATIO = record(dict.fromkeys(("median", "low", "high", "cpu"), finite(0)), needed=("median", "low", "high", "cpu"))
_TIME = record(
    {**dict.fromkeys(("median", "low", "high", "cpu"), finite(0)), "rounds": _COUNT}, needed=("median", "low", "high", "cpu", "rounds")
)
_COST = record(
    {
        "params": integer(1, 2**63),
        "macs": integer(1, 2**63),
        "latency": _TIME,
        "step": _TIME,
        "latency_ratio": _RATIO,
        "step_ratio": _RATIO,
    },
    needed=("params", "macs", "latency", "step", "latency_ratio", "step_ratio"),
    others=_PLAIN,
)
_PANEL = record(
    {
        "name": _TITLE,
        "path": _TITLE,
        "channels": items(_COUNT, high=10**5),
        "classes": table(text(19, low=1, pattern=r"\d+", what="a number"), _CURVE, high=10**6),
        "overall": items(finite(), high=10**5),
        "weighted": FLAG,
    },
    needed=("name", "path", "channels", "classes", "overall"),
)
_RUN = record(
    {"seed": _SEED, "folder": text(10_000), "history": table(text(200), items(_HISTORY, 1, 10**6)), "tables": TABLES, "curves": CURVES},
    needed=("seed", "folder", "history"),
)
_VARIANT = record(
    {
        "label": _TITLE,
        "changes": record({}, others=_PLAIN),
        "runs": items(_RUN, 1, 10**4),
        "cost": _COST,
        "excitations": items(_PANEL),
    },
    needed=("label", "changes", "runs", "cost", "excitations"),
    others=_PLAIN,
)
_DATA = record(
    {
        "name": _TITLE,
        "classes": items(_TITLE, high=10**6),
        "train_images": _COUNT,
        "val_images": _COUNT,
        "input_size": items(_COUNT, 1, 10),
    },
    needed=("name", "classes", "train_images", "val_images", "input_size"),
)
COMPARISON = record(
    {
        "metrics": items(METRIC, 1, 100),
        "seeds": items(_SEED, 1, 10**4),
        "variants": items(_VARIANT, 2, 10**4),
        "data": _DATA,
        "environment": table(_TITLE, text(10_000)),
        "command": text(10**5),
        "recipe": _PLAIN,
        "cases": CASES,
    },
    needed=("seeds", "variants", "data", "environment", "command", "recipe"),
    others=_PLAIN,
)
"""The rule for a comparison as plain data; what follows from the rest is not read."""


def comparison_tree(result: Result) -> dict[str, Any]:
    """Return a result as plain data: what was measured, and beside it what follows, for readers that do not compute."""
    cases = {} if result.cases is None else {"cases": result.cases.to_dict()}
    return {
        "summary": result.summary,
        "baseline": result.baseline.label,
        "metrics": [metric.to_dict() for metric in result.metrics],
        "seeds": list(result.seeds),
        "variants": [_variant_tree(variant, result) for variant in result.variants],
        "data": vars(result.data) | {"classes": list(result.data.classes), "input_size": list(result.data.input_size)},
        "environment": dict(result.environment),
        "command": result.command,
        "recipe": result.recipe.to_dict(),
        **cases,
    }


def read_comparison(tree: Mapping[str, Any]) -> Result:
    """Build a result from what `comparison_tree` returned, in this version or an earlier one.

    Raises:
        UsageError: if it is something else.
    """
    COMPARISON.check(tree, "comparison")
    data = tree["data"]
    result = Result(
        recipe=build_recipe(tree["recipe"]),
        metrics=tuple(map(Metric.from_dict, tree["metrics"])) if "metrics" in tree else ACCURACIES,
        seeds=tuple(tree["seeds"]),
        variants=tuple(map(_read_variant, tree["variants"])),
        data=DataFacts(**data | {"classes": tuple(data["classes"]), "input_size": tuple(data["input_size"])}),
        environment=tree["environment"],
        command=tree["command"],
        cases=Cases.from_dict(tree["cases"]) if "cases" in tree else None,
    )
    _check_runs(result)
    _check_cases(result)
    return result


def _check_runs(result: Result) -> None:
    """Raise UsageError unless each variant has one run a seed, each with a finite last value of every metric."""
    if len({variant.label for variant in result.variants}) < len(result.variants):
        raise UsageError("two variants have one label")
    for variant in result.variants:
        if tuple(run.seed for run in variant.runs) != result.seeds:
            raise UsageError(f"{variant.label!r} has not one run a seed")
        for run, column in product(variant.runs, ("val_loss", *(metric.column for metric in result.metrics))):
            if column not in run.history or not isfinite(run.last(column)):
                raise UsageError(f"seed {run.seed} of {variant.label!r} has no last {column}")


def _check_cases(result: Result) -> None:
    """Raise UsageError unless each image that is shown tells of every variant, in order."""
    labels = [variant.label for variant in result.variants]
    for image in result.cases.images if result.cases else ():
        if [variant.label for variant in image.variants] != labels:
            raise UsageError(f"the {image.rank} image does not tell of each variant")


def _variant_tree(variant: VariantResult, result: Result) -> dict[str, Any]:
    difference, loss = result.differences.get(variant.label), variant.last("val_loss")
    return {
        "label": variant.label,
        "changes": dict(variant.changes),
        "metrics": {metric.name: _metric_tree(variant, metric) for metric in result.metrics},
        "difference": None if difference is None else vars(difference) | {"finding": difference.finding},
        "loss": {"mean": fmean(loss), "sd": spread(loss)},
        "cost": variant.cost.to_dict(result.baseline.cost),
        "runs": [_run_tree(run) for run in variant.runs],
        "excitations": [_panel_tree(panel) for panel in variant.excitations],
    }


def _metric_tree(variant: VariantResult, metric: Metric) -> dict[str, Any]:
    values = variant.last(metric.column)
    best = fmean(run.best(metric) for run in variant.runs)
    return {"mean": fmean(values), "sd": spread(values), "by_seed": list(values), "best_epoch": {"mean": best}}


def _read_variant(tree: Mapping[str, Any]) -> VariantResult:
    return VariantResult(
        label=tree["label"],
        changes=tree["changes"],
        runs=tuple(map(_read_run, tree["runs"])),
        cost=VariantCost.from_dict(tree["cost"]),
        excitations=tuple(map(_read_panel, tree["excitations"])),
    )


def _run_tree(run: SeedRun) -> dict[str, Any]:
    tables = {"tables": run.tables} if run.tables else {}
    curves = {"curves": plain_curves(run.curves)} if run.curves else {}
    return {"seed": run.seed, "folder": run.folder, "history": dict(run.history), **tables, **curves}


def _read_run(tree: Mapping[str, Any]) -> SeedRun:
    history = {column: tuple(values) for column, values in tree["history"].items()}
    return SeedRun(tree["seed"], tree["folder"], history, tree.get("tables", {}), read_curves(tree.get("curves", {})))


def _panel_tree(panel: "Panel") -> dict[str, Any]:
    tree = asdict(panel)
    return tree if panel.weighted else {name: value for name, value in tree.items() if name != "weighted"}


def _read_panel(tree: Mapping[str, Any]) -> "Panel":
    from senet.analysis.excitation import GateCurve, Panel

    curves = {int(label): GateCurve(tuple(curve["mean"]), tuple(curve["std"])) for label, curve in tree["classes"].items()}
    return Panel(tree["name"], tree["path"], tuple(tree["channels"]), curves, tuple(tree["overall"]), tree.get("weighted", False))
