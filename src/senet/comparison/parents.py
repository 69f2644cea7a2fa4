"""What compressed variants begin from: the best weights of the network that the same seed trained without compression."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from senet.comparison.variants import Variant
from senet.errors import UsageError
from senet.recipe import Recipe, override
from senet.recipe.compress import COMPRESS

SHORTER = 8
"""How many times fewer epochs a compressed network is fine-tuned than the network that it was made of was trained."""

LOWER = 10
"""How many times lower its learning rate is."""


def with_parents(variants: Sequence[Variant], given: Collection[str] = ()) -> list[Variant]:
    """Tell compressed variants what they begin from, and shorten their recipes to those of fine-tuning.

    One begins from the variant without compression that is else like it. Where there is none, it begins from the trained weights of its
    recipe (model.weights), and trains as long as that says.

    Args:
        variants: those of a comparison.
        given: the fields that the user set together with model.compress, which stay as they are.

    Raises:
        UsageError: if a compressed variant has nothing to begin from.
    """
    return [variant if variant.recipe.model.compression is None else _child(variant, variants, given) for variant in variants]


def with_ancestors(variants: Sequence[Variant]) -> list[Variant]:
    """Return variants, and behind them those that they begin from and that are not among them."""
    found = {variant.label: variant for variant in variants}
    for variant in variants:
        ancestor = variant.parent
        while ancestor is not None:
            found.setdefault(ancestor.label, ancestor)
            ancestor = ancestor.parent
    return list(found.values())


def fine_tuning(recipe: Recipe, epochs: int | None = None) -> dict[str, Any]:
    """Return the fields by which a recipe of training becomes one of fine-tuning: fewer epochs at a lower rate, all else in proportion.

    Args:
        recipe: of training.
        epochs: those of fine-tuning; None = an eighth of the recipe's, at least one.
    """
    before = recipe.training.epochs
    epochs = max(1, before // SHORTER) if epochs is None else epochs
    milestones = sorted({max(1, milestone * epochs // before) for milestone in recipe.schedule.milestones})
    return {
        "training.epochs": epochs,
        "training.freeze_bn_epochs": recipe.training.freeze_bn_epochs * epochs // before,
        **dict.fromkeys((f"training.unfreeze.{part}" for part in ("head", "blocks", "host")), 0),
        "optim.lr": recipe.optim.lr / LOWER,
        "schedule.milestones": milestones,
        "schedule.warmup_steps": recipe.schedule.warmup_steps * epochs // before,
    }


def _child(variant: Variant, variants: Sequence[Variant], given: Collection[str]) -> Variant:
    wanted = {path: value for path, value in variant.changes.items() if path != COMPRESS and path not in given}
    whole = [one for one in variants if one.recipe.model.compression is None and wanted.items() <= one.changes.items()]
    if not whole and variant.recipe.model.weights is not None:
        return variant
    if not whole:
        raise UsageError(
            f"{variant.label} is made of a trained network, and there is none to begin from: compare it with the network as it is, "
            f"--vary compress=none,{variant.recipe.model.compress}, or name trained weights, --model.weights RUN"
        )
    epochs = variant.recipe.training.epochs if "training.epochs" in given else None
    shorter = {path: value for path, value in fine_tuning(whole[0].recipe, epochs).items() if path not in given}
    return replace(variant, recipe=override(variant.recipe, shorter), parent=whole[0])
