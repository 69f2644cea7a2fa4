"""Whether the runs that a comparison finds are those that it would train: what is damaged or was made of something else is not compared."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from senet.comparison.environment import environment_of
from senet.comparison.prepare import PreparedVariant
from senet.comparison.variants import Variant
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.results.finished import check_made_of, check_records
from senet.results.origin import facts_of, origin_of
from senet.results.run_folder import RunFolder
from senet.weights.seal import check_sealed
from senet.weights.store import read_metadata

log = logging.getLogger("senet")


def run_folders(variants: Sequence[Variant], seeds: Sequence[int], folder: Path) -> dict[str, list[RunFolder]]:
    """Return the run folders of a comparison in a folder: label of each variant -> one a seed."""
    return {variant.label: [_run_folder(variant, recipe, folder) for recipe in recipes_of(variant, seeds, folder)] for variant in variants}


def recipes_of(variant: Variant, seeds: Sequence[int], folder: Path) -> list[Recipe]:
    """Return the recipe of each run of a variant; one with a parent begins from the parent's run of the same seed."""
    recipes = [replace(variant.recipe, seed=seed) for seed in seeds]
    if variant.parent is None:
        return recipes
    begun = run_folders([variant.parent], seeds, folder)[variant.parent.label]
    return [replace(recipe, model=replace(recipe.model, weights=str(run.path))) for recipe, run in zip(recipes, begun, strict=True)]


def _run_folder(variant: Variant, recipe: Recipe, folder: Path) -> RunFolder:
    return RunFolder(folder / f"{variant.slug}-seed{recipe.seed}-{recipe.digest()}")


def check_found(prepared: Sequence[PreparedVariant], seeds: Sequence[int], runs: Mapping[str, Sequence[RunFolder]], folder: Path) -> None:
    """Check the runs of a comparison that are in its folder already.

    Raises:
        UsageError: for the first that is damaged, or was made of another recipe, other images, classes or code; it is named.
    """
    facts = {id(one.source): facts_of(one.source) for one in prepared}
    silent: list[Path] = []
    for one in prepared:
        for recipe, run in zip(recipes_of(one.variant, seeds, folder), runs[one.variant.label], strict=True):
            try:
                _check_parent(one.variant, recipe, run)
                if run.exists() and not _check(run, recipe, facts[id(one.source)]):
                    silent.append(run.path)
            except UsageError as error:
                raise UsageError(
                    f"{run.path} cannot be compared: {error}; remove that folder to train it again, or name another with --out"
                ) from error
    if silent:
        log.warning(
            "%s and all others of an earlier version do not say of which images they were made; they are used as they are", silent[0]
        )


def _check_parent(variant: Variant, recipe: Recipe, run: RunFolder) -> None:
    """Raise UsageError if a run began from one that is not there: it would be trained again, and be another."""
    if variant.parent is not None and recipe.model.weights is not None and (run.is_finished() or run.has_checkpoint()):
        begun = RunFolder.at(recipe.model.weights)
        if not begun.is_finished():
            raise UsageError(f"it began from {begun.path}, which is no finished run")


def _check(run: RunFolder, recipe: Recipe, facts: Mapping[str, Any]) -> bool:
    """Return whether a run says what it was made of; one without a checkpoint will be made anew."""
    if not run.is_finished() and not run.has_checkpoint():
        return True
    if run.recipe().digest() != recipe.digest():
        raise UsageError("its recipe.yaml is no longer that of this variant")
    if run.is_finished():
        check_records(run)
        environment_of([run])
        written, best = read_metadata(run.weights).extra.get("epoch"), run.result().best_epoch
        if isinstance(written, int) and written != best:
            raise UsageError(f"{run.weights} holds the weights of epoch {written}, and epoch {best} was the best")
        check_sealed(run.weights)
    return check_made_of(run, origin_of(recipe, facts))
