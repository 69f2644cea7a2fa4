"""What a recipe says of fine-tuning: parts by name, files over bases, and digests that stay where nothing is said."""

from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.recipe import OptimRecipe, PartEpochs, PartRates, Recipe, build_recipe, load_recipe, override


def test_parts_that_are_not_named_keep_their_defaults() -> None:
    recipe = build_recipe({"optim": {"groups": {"head": 10}}, "training": {"unfreeze": {"host": 3}}})
    assert recipe.optim.groups == PartRates(head=10.0)
    assert recipe.training.unfreeze == PartEpochs(host=3)
    assert build_recipe(recipe.to_dict()) == recipe


def test_a_file_changes_single_parts_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("optim: {name: adamw, groups: {head: 10, host: 0.1}}\n")
    (tmp_path / "own.yaml").write_text("base: base.yaml\noptim: {groups: {host: 0}}\n")
    found = load_recipe(tmp_path / "own.yaml", {"optim.groups.blocks": 2}).optim
    assert (found.name, found.groups) == ("adamw", PartRates(head=10.0, blocks=2.0, host=0.0))


def test_what_is_said_of_parts_is_in_the_digest_and_its_defaults_are_not() -> None:
    defaults = {"optim.name": "sgd", "optim.groups.head": 1, "optim.layer_decay": 1, "training.unfreeze.host": 0}
    assert override(Recipe(), defaults).digest() == Recipe().digest()
    for path, value in {"optim.groups.host": 0, "training.unfreeze.head": 1, "optim.layer_decay": 0.9, "optim.name": "adamw"}.items():
        assert override(Recipe(), {path: value}).digest() != Recipe().digest(), path


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"optim": {"name": "adam"}}, "optim.name: expected one of 'sgd', 'adamw', got adam"),
        ({"optim": {"groups": {"hed": 1}}}, "unknown field 'optim.groups.hed' .did you mean 'head'"),
        ({"optim": {"groups": {"head": -1}}}, "optim.groups.head must be between 0 and"),
        ({"optim": {"layer_decay": 0}}, "optim.layer_decay must be between 0.01 and 1"),
        ({"training": {"unfreeze": {"host": 1.5}}}, "training.unfreeze.host: expected int, got 1.5"),
        ({"optim": {"betas": [0.9]}}, "optim.betas: expected a list of 2"),
        ({"optim": {"betas": [0.9, 1.0]}}, "optim.betas must be two numbers of at least 0 and below 1"),
    ],
)
def test_what_is_wrong_is_one_line(tree: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_recipe(tree)


def test_sgd_is_what_a_recipe_means_that_names_none() -> None:
    assert (OptimRecipe().name, OptimRecipe(0.2, 0.5).momentum) == ("sgd", 0.5)
