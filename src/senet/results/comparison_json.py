"""A comparison as plain data for result.json, and back. No torch until excitations are read."""

from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from senet.measuring.paired import spread
from senet.recipe import build_recipe
from senet.results.comparison import DataFacts, Result, SeedRun, VariantResult
from senet.results.cost import VariantCost
from senet.results.metric import ACCURACIES, Metric

if TYPE_CHECKING:
    from senet.analysis.excitation import Panel


def comparison_tree(result: Result) -> dict[str, Any]:
    """Return a result as plain data: what was measured, and beside it what follows, for readers that do not compute."""
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
    }


def read_comparison(tree: Mapping[str, Any]) -> Result:
    """Build a result from what `comparison_tree` returned, in this version or an earlier one."""
    data = tree["data"]
    return Result(
        recipe=build_recipe(tree["recipe"]),
        metrics=tuple(map(Metric.from_dict, tree["metrics"])) if "metrics" in tree else ACCURACIES,
        seeds=tuple(tree["seeds"]),
        variants=tuple(map(_read_variant, tree["variants"])),
        data=DataFacts(**data | {"classes": tuple(data["classes"]), "input_size": tuple(data["input_size"])}),
        environment=tree["environment"],
        command=tree["command"],
    )


def _variant_tree(variant: VariantResult, result: Result) -> dict[str, Any]:
    difference, loss = result.differences.get(variant.label), variant.last("val_loss")
    return {
        "label": variant.label,
        "changes": dict(variant.changes),
        "metrics": {metric.name: _metric_tree(variant, metric) for metric in result.metrics},
        "difference": None if difference is None else vars(difference) | {"finding": difference.finding},
        "loss": {"mean": fmean(loss), "sd": spread(loss)},
        "cost": variant.cost.to_dict(result.baseline.cost),
        "runs": [{"seed": run.seed, "folder": run.folder, "history": dict(run.history)} for run in variant.runs],
        "excitations": [asdict(panel) for panel in variant.excitations],
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


def _read_run(tree: Mapping[str, Any]) -> SeedRun:
    return SeedRun(tree["seed"], tree["folder"], {column: tuple(values) for column, values in tree["history"].items()})


def _read_panel(tree: Mapping[str, Any]) -> "Panel":
    from senet.analysis.excitation import GateCurve, Panel

    curves = {int(label): GateCurve(tuple(curve["mean"]), tuple(curve["std"])) for label, curve in tree["classes"].items()}
    return Panel(tree["name"], tree["path"], tuple(tree["channels"]), curves, tuple(tree["overall"]))
