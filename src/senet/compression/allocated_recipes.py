"""Recipes that train a network with allocated hidden widths, and its twin of one ratio; the command that compares them."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from senet.compression.allocated_widths import Allocation
from senet.compression.block_records import with_hidden
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.models.foreign import is_foreign
from senet.models.registry import split_name
from senet.recipe import Recipe, override
from senet.spec import BlockSpec

SEEDS = 3
"""Seeds of the comparison that is proposed."""


@dataclass(frozen=True)
class AllocatedRecipes:
    """Recipes of two networks of about as many parameters.

    Args:
        allocated: of the network with hidden widths by unit.
        uniform: of the one with a single ratio.
    """

    allocated: Recipe
    uniform: Recipe

    @classmethod
    def of(cls, recipe: Recipe, allocation: Allocation) -> "AllocatedRecipes":
        """Change the recipe that trained the network which an allocation was made for.

        Raises:
            UsageError: if its blocks are not all what the option `block` says.
        """
        spec = allocation.spec
        if not allocation.can_be_asked_for:
            raise UsageError(f"no recipe can ask for these widths of {recipe.model.name}: its blocks are not all what `block` says")
        own = recipe.model.block
        base = own if isinstance(own, BlockSpec) else BlockSpec(allocation.kind)
        uniform = {name: value for name, value in base.options.items() if name != "hidden"} | {"reduction": allocation.uniform.reduction}
        widths = None if spec is None else with_hidden(base, spec.options["hidden"])
        return cls(
            _changed(recipe, "allocated", widths, allocation.omitted if widths else ()),
            _changed(recipe, "uniform", BlockSpec(base.kind, **uniform), recipe.model.options.get("omitted", ())),
        )

    def compare_line(self, file: str) -> str:
        """Return the command that trains both with the same seeds, the single ratio as the baseline.

        Args:
            file: where the allocated recipe is.
        """
        pair = [recipe.model for recipe in (self.uniform, self.allocated)]
        blocks = [_plain(model.block) for model in pair]
        omitted = [model.options.get("omitted", []) for model in pair]
        same = omitted[0] == omitted[1]
        varied = blocks if same else [list(row) for row in zip(blocks, omitted, strict=True)]
        fields = "model.block" if same else "model.block+model.options.omitted"
        vary = f"{fields}={','.join(json_text(value, indent=None) for value in varied)}"
        return shlex.join(["senet", "compare", file, "--vary", vary, "--seeds", str(SEEDS)])


def _changed(recipe: Recipe, suffix: str, block: BlockSpec | None, omitted: Any) -> Recipe:
    model = recipe.model
    options = {name: value for name, value in model.options.items() if name != "omitted"}
    changes: dict[str, Any] = {
        "name": f"{recipe.name}_{suffix}",
        "model.name": model.name if is_foreign(model.name) else split_name(model.name)[1],
        "model.block": None if block is None else block.to_dict(),
        "model.reduction": None,
        "model.options": options | ({"omitted": [list(unit) for unit in omitted]} if omitted else {}),
    }
    return override(recipe, changes)


def _plain(block: Any) -> Mapping[str, Any] | str:
    return "none" if block is None else block.to_dict()
