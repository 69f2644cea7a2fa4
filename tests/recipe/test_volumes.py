"""What a recipe says of volumes is a section of its data like any other."""

from pathlib import Path

from senet.recipe import Recipe, VolumeRecipe, build_recipe, load_recipe


def test_a_recipe_changes_single_fields_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "brain.yaml").write_text("base: digits\ndata: {name: volumes, volumes: {plane: coronal, slices: 3}}\n")
    (tmp_path / "mine.yaml").write_text("base: brain.yaml\ndata: {volumes: {slices: 5}}\n")
    found = load_recipe(tmp_path / "mine.yaml", {"plane": "sagittal", "data.volumes.patches": 4}).data
    assert (found.name, found.volumes) == ("volumes", VolumeRecipe(plane="sagittal", slices=5, patches=4))


def test_volumes_survive_plain_data() -> None:
    recipe = build_recipe({"data": {"volumes": {"spacing": [1, 1.5, 2], "patch": "[8, 16, 16]", "val": ["a", "b"]}}})
    assert recipe.data.volumes == VolumeRecipe(spacing=(1.0, 1.5, 2.0), patch=(8, 16, 16), val=("a", "b"))
    assert build_recipe(recipe.to_dict()) == recipe


def test_other_recipes_keep_their_digest() -> None:
    before = {name: value for name, value in Recipe().to_dict()["data"].items() if name != "volumes"}
    assert build_recipe({"data": before}).digest() == Recipe().digest()
