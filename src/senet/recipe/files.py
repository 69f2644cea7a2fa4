"""Recipes as YAML files: those of the package by name, others by path, each perhaps laid over a base."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from senet.errors import UsageError, choice_error
from senet.file_kind import file_kind
from senet.recipe.build import build_recipe, check_tree
from senet.recipe.code import check_named_code
from senet.recipe.paths import field_path, field_paths
from senet.recipe.tree import Recipe
from senet.recipe.yaml_text import parse_yaml, read_yaml_file
from senet.text import printable

YAML_SUFFIXES = (".yaml", ".yml")

NESTED = {tuple(path.split(".")[:2]) for path in field_paths() if path.count(".") == 2}
"""The sections that lie in sections: ("data", "volumes")."""


@dataclass(frozen=True)
class RecipeFile:
    """One file of a recipe.

    Args:
        source: name in the package, or path.
        text: the file as written.
        tree: its fields, without `base`.
        base: name or path of the recipe that these fields are laid over.
    """

    source: str
    text: str
    tree: Mapping[str, Any]
    base: str | None

    @property
    def folder(self) -> Path | None:
        """The folder of a file; None for a recipe of the package."""
        return Path(self.source).parent if Path(self.source).suffix in YAML_SUFFIXES else None


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("senet").joinpath("recipes").iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(source: str | Path, overrides: Mapping[str, Any] | None = None, *, only_read: bool = False) -> Recipe:
    """Read a recipe by name or from a YAML file, then apply dotted overrides such as `{"model.reduction": 8}`.

    A file may begin with `base: NAME`, a recipe of the package or a file beside it: its fields replace those of the base, the others stay
    the base's. A field that holds a mapping of its own (model.block, model.options) is replaced as a whole. Code that a file names lies in
    its own folder or in the working folder, unless an override names it or `allow_code` allows it.

    Args:
        source: name, or path of the file.
        overrides: dotted or short field -> value.
        only_read: whether the recipe is looked at and nothing that it names will run: where code lies is then not asked.

    Raises:
        UsageError: if there is no such recipe or file, if bases lead in a circle, if a file names code that lies elsewhere, or as
            `build_recipe` does.
    """
    tree: dict[str, Any] = {}
    files = recipe_files(source)
    if not only_read:
        check_code_of(files, overrides or ())
    for file in reversed(files):
        tree = _overridden(tree, file.tree)
    return build_recipe(tree, overrides, where=f"recipe {source}")


def check_code_of(files: Sequence[RecipeFile], given: Iterable[str] = ()) -> None:
    """Raise UsageError if files of a recipe name code that lies elsewhere and that nobody allowed; `given` fields are set by hand."""
    named = [(file.tree, file.folder, f"recipe {printable(file.source)}") for file in files]
    check_named_code(named, [field_path(name) for name in given])


def recipe_files(source: str | Path) -> list[RecipeFile]:
    """Return the file of a recipe, its base, the base of that, and so on.

    Raises:
        UsageError: as `load_recipe` does.
    """
    chain = [_read(source)]
    while (base := chain[-1].base) is not None:
        names = [file.source for file in chain]
        if _place(base) in map(_place, names):
            raise UsageError(f"recipe {source}: its bases lead in a circle: {' -> '.join([*names, base])}; remove one `base:`")
        try:
            chain.append(_read(base))
        except UsageError as error:
            raise UsageError(f"recipe {names[-1]} builds on {base!r}: {error}") from error
    return chain


def read_recipe_text(source: str | Path) -> str:
    """Return the YAML text of a recipe that comes with the package, or of a file.

    Raises:
        UsageError: if there is no such recipe (the nearest is named) or file.
    """
    path = Path(source)
    if path.suffix in YAML_SUFFIXES:
        if file_kind(path) is None:
            raise UsageError(f"no recipe file {str(source)!r}; `senet recipes` lists the recipes that come with the package")
        return read_yaml_file(path, f"recipe {printable(source)}")
    if str(source) not in list_recipes():
        if file_kind(path / "recipe.yaml") == "file":
            raise UsageError(
                f"{str(source)!r} is the folder of a run: go on with --resume {source}, or name its file {path / 'recipe.yaml'}"
            )
        if file_kind(path) is not None:
            raise UsageError(f"{str(source)!r} is no recipe: a recipe is a name, or a file that ends in {' or '.join(YAML_SUFFIXES)}")
        raise choice_error("recipe", source, list_recipes())
    return files("senet").joinpath("recipes", f"{source}.yaml").read_text(encoding="utf-8")


def annotated_recipe(source: str | Path) -> str:
    """Return the YAML text of a recipe, and below it, as comments, that of each of its bases.

    Raises:
        UsageError: as `load_recipe` does.
    """
    own, *bases = recipe_files(source)
    lines = [own.text.rstrip("\n")]
    for file in bases:
        lines += ["", f"# {file.source}, for what is not said above:"]
        lines += [f"#   {line}".rstrip() for line in file.text.splitlines()]
    return "\n".join(lines) + "\n"


def _place(source: str) -> Path:
    """Return what two ways to write one source have in common."""
    path = Path(source)
    return path.resolve() if path.suffix in YAML_SUFFIXES and file_kind(path) is not None else path


def _read(source: str | Path) -> RecipeFile:
    text = read_recipe_text(source)
    tree = parse_yaml(text, f"recipe {printable(source)}")
    if _says_nothing(tree):
        raise UsageError(
            f"recipe {source} is empty: it says nothing of what to train; begin with `base: digits`, or another of `senet recipes`, "
            "and the fields that differ"
        )
    if not isinstance(tree, Mapping) or "base" not in tree:
        check_tree(tree, f"recipe {source}")
        return RecipeFile(str(source), text, tree, None)
    own, base = {name: value for name, value in tree.items() if name != "base"}, tree["base"]
    if not isinstance(base, str):
        raise UsageError(f"recipe {source}: base must be the name of a recipe or of a file beside this one, got {base!r}")
    check_tree(own, f"recipe {source}")
    beside = Path(base).suffix in YAML_SUFFIXES
    return RecipeFile(str(source), text, own, str(Path(source).parent / base) if beside else base)


def _says_nothing(tree: Any) -> bool:
    """Return whether a recipe is empty, or has but a name and sections without fields."""
    named = isinstance(tree, Mapping) and all(value == {} or field in ("name", "about") for field, value in tree.items())
    return tree is None or named


def _overridden(base: Mapping[str, Any], fields: Mapping[str, Any], within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a base with those of a file in their place; in sections, and sections in them, field by field."""
    sections = {
        name: _overridden(base[name], value, (*within, name))
        for name, value in fields.items()
        if _are_sections(value, base.get(name)) and (not within or (*within, name) in NESTED)
    }
    return {**base, **fields, **sections}


def _are_sections(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)
