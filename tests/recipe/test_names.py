"""Names of runs, which become folders."""

from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.recipe import Recipe, build_recipe, load_recipe
from senet.recipe.names import check_run_name

HOSTILE = [
    "../x",
    "/tmp/x",
    "a/b",
    "a\\b",
    "..",
    ".",
    ".hidden",
    "-rf",
    " a",
    "a ",
    "a.",
    "",
    "a\nb",
    "a\x1b[31m",
    "a\0",
    "\u202ea",
    "caf\udce9",
]


@pytest.mark.parametrize("name", [*HOSTILE, "CON", "nul.txt", "com1", "x" * 101, "猫" * 51])
def test_a_name_that_is_no_folder_in_a_folder_is_refused(name: str) -> None:
    for build in (lambda: Recipe(name=name), lambda: build_recipe({"name": name}), lambda: load_recipe("digits", {"name": name})):
        with pytest.raises(UsageError) as caught:
            build()
        line = str(caught.value)
        assert line.isprintable()
        assert "NUL" in line or "becomes that of its runs' folders" in line or "is empty" in line


@pytest.mark.parametrize(
    "name", ["digits", "digits-se", "[mine", "Kätzchen 猫", "a.b,c=d+e (2)", "2024-01-01", "config", "x" * 100, "猫" * 50]
)
def test_other_names_make_one_folder(name: str, tmp_path: Path) -> None:
    check_run_name(name)
    folder = tmp_path / f"compare-{name}" / f"{name}-123456789abc"
    folder.mkdir(parents=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"compare-{name}"]


def test_a_date_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: digits\nname: 2024-01-01\n")
    assert load_recipe(tmp_path / "mine.yaml").name == "2024-01-01"


def test_an_option_is_named_like_an_argument() -> None:
    for options in ({"a/b": 1}, {"": 1}, {"../x": 1}, {1: 2}):
        with pytest.raises(UsageError, match=r"model\.options holds arguments of a network"):
            build_recipe({"model": {"options": options}})
    with pytest.raises(UsageError, match=r"model\.options holds arguments and stages"):
        load_recipe("digits", {"model.options.a/b": 1})
