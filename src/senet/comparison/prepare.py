"""What is checked and opened before a comparison trains anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet.comparison.variants import Variant
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.tasks.answers import network_of, noise_of, open_source
from senet.tasks.pictured import pictured
from senet.tasks.registry import open_task
from senet.tasks.task import Task
from senet.training.compressed import check_pruning


@dataclass(frozen=True)
class PreparedVariant:
    """Variant together with its task and its images.

    Args:
        variant: the variant.
        task: what is predicted.
        source: the images; one object for all variants of the same data recipe.
    """

    variant: Variant
    task: Task
    source: DataSource


def prepare_variants(variants: Sequence[Variant]) -> list[PreparedVariant]:
    """Open every task and, once, each distinct data recipe, and build each network without memory.

    Raises:
        UsageError: for a variant that cannot work; it is named.
    """
    opened: dict[DataRecipe, DataSource] = {}
    prepared = []
    for variant in variants:
        recipe = variant.recipe
        try:
            task = open_task(recipe)
            if recipe.data not in opened:
                opened[recipe.data] = open_source(task, recipe.data)
            network_of(task, recipe.model, opened[recipe.data], "meta")
            noise_of(task, opened[recipe.data], 1)
            pictured(task)
            check_pruning(recipe)
        except UsageError as error:
            raise UsageError(f"variant {variant.label!r}: {error}") from error
        prepared.append(PreparedVariant(variant, task, opened[recipe.data]))
    return prepared
