"""Recipes, flags and varied values that nobody meant: each is read, or refused in one line, at once."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from senet.cli.arguments import add_recipe, command_parser, recipe_of
from senet.comparison.variants import expand, parse_vary
from senet.errors import UsageError
from senet.recipe import Recipe, build_recipe, field_paths, list_recipes, load_recipe, read_recipe_text
from within import within

SAMPLE, ALL = 300, 10_000
LONGEST_WAIT = 10.0

VALUES: list[Any] = [
    *(None, True, 0, -1, 3, 10**30, 10**5000, 1.5, -0.0, float("nan"), float("inf"), "", " ", "x", "none", "auto", "se", "digits", "1e999"),
    *([], [[]], [1, 2], [None], [[1, [2, [3]]]], ["a", 1], {}, {"a": 1}, {1: 2}, {None: None}, {"kind": "se"}, {"kind": []}, {"kind": {}}),
    *({"kind": "se", "hidden": {"a": 1}}, {"kind": "cmpe_se", "fold": 3}, {"kind": "scse", "combine": ["add"]}, {"reduction": {"2": "x"}}),
    *(
        "../x",
        "/etc/passwd",
        "a\x1b[31m",
        "a\nb",
        "\ud800",
        "a\0b",
        "\u202e",
        "[/x]",
        "x" * 300,
        "nowhere.py:make",
        ".py:",
        ":.py:x",
        "a.py:",
    ),
    *(
        "2024-01-01",
        "!!set {a}",
        "&a [*a]",
        "{a: 1, a: 2}",
        "- a\n- b",
        "[" * 100,
        "9" * 5000,
        "0x" + "f" * 500,
        "*",
        "? ",
        "<<: {}",
        "~",
        "=",
        "%",
    ),
]
TOKENS = [
    *(
        "\n",
        " ",
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "<<: *a",
        "!!set ",
        "!!binary ",
        "!!int ",
        "!x ",
        "|",
        ">",
        "'",
        '"',
    ),
    *(
        "#",
        "%",
        "---\n",
        "...\n",
        "? ",
        ",",
        "\0",
        "\x85",
        "\ufeff",
        "\u2028",
        "\ud83d",
        "null",
        "2024-01-01",
        ".nan",
        ".inf",
        "1_0",
        "1:2:3",
        "=",
        "~",
    ),
]


def mutated_tree(draw: random.Random) -> str:
    """Return the text of a recipe of the package with some values, keys and sections changed."""
    tree = yaml.safe_load(read_recipe_text(draw.choice(list_recipes())))
    for _ in range(draw.randint(1, 3)):
        place, depth = tree, draw.randint(0, 2)
        while depth and (inner := [value for value in place.values() if isinstance(value, dict) and value]):
            place, depth = draw.choice(inner), depth - 1
        key = draw.choice([*place, *draw.choice(field_paths()).split("."), draw.choice(VALUES)])
        if draw.random() < 0.2:
            place.pop(key, None) if isinstance(key, str) else None
        else:
            place[key if isinstance(key, str | int | float | None) else "x"] = deepcopy(draw.choice(VALUES))
    try:
        return yaml.safe_dump(tree)
    except ValueError:  # 10**5000
        return "seed: " + "1" * 5000


def mutated_text(draw: random.Random) -> str:
    """Return the text of a recipe of the package with pieces inserted, cut, repeated and exchanged."""
    text = read_recipe_text(draw.choice(list_recipes()))
    for _ in range(draw.randint(1, 4)):
        at, to = sorted((draw.randint(0, len(text)), draw.randint(0, len(text))))
        to = min(to, at + draw.choice((1, 5, 50, 1000)))
        piece = text[at:to]
        text = text[:at] + draw.choice((draw.choice(TOKENS), piece * 2, "", piece[::-1], draw.choice(TOKENS) + piece)) + text[to:]
    return text


def refusal(work: Callable[..., None], *arguments: Any) -> int:
    """Run a case; return 1 if it was refused, in one line, else 0."""
    line = None
    with within(LONGEST_WAIT):
        try:
            work(*arguments)
        except UsageError as error:
            line = str(error)
    assert line is None or "\n" not in line, arguments
    return line is not None


def load(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    recipe = load_recipe(file)
    assert build_recipe(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.digest()


def load_mutants(count: int, file: Path) -> None:
    draw, refused = random.Random(1), 0
    for _ in range(count):
        text = draw.choice((mutated_tree, mutated_text))(draw)
        errors, encoding = draw.choice(("surrogatepass", "replace")), draw.choice(["utf-8"] * 18 + ["latin-1", "utf-16"])
        refused += refusal(load, file, text.encode(encoding, "replace" if encoding == "latin-1" else errors))
    assert 0.2 * count < refused < count


def read_flag(flag: str) -> None:
    parser = command_parser("senet compare", "compare")
    add_recipe(parser)
    recipe_of(parser.words(["digits", flag]))


def read_vary(text: str) -> None:
    field, given = parse_vary(text)
    for variant in expand(Recipe(name="plain"), {"model.block": [None, "se"], field: given}):
        assert variant.label.isprintable()
        assert variant.slug.strip(".-") == variant.slug
        assert len(variant.slug) <= 100


def parse_flags(count: int) -> None:
    draw, refused = random.Random(2), 0
    words = [*map(str, (value for value in VALUES if value != 10**5000)), *TOKENS, "none", "se", "scse", "0.1", "16"]
    paths = [*field_paths(), "model.options.x", "model.block.gate", "model.reduction.2", "model.options.a/b", "lr", "block"]
    for _ in range(count):
        path, values = draw.choice(paths), draw.choices(words, k=draw.randint(1, 3))
        refused += refusal(read_flag, f"--{path}={values[0]}") + refusal(read_vary, f"{path}={','.join(values)}")
    assert 0.2 * count < refused < 2 * count


def test_mutated_recipes(tmp_path: Path) -> None:
    load_mutants(SAMPLE, tmp_path / "mutant.yaml")


def test_hostile_flags() -> None:
    parse_flags(SAMPLE // 3)


@pytest.mark.slow
def test_many_mutated_recipes(tmp_path: Path) -> None:
    load_mutants(ALL, tmp_path / "mutant.yaml")


@pytest.mark.slow
def test_many_hostile_flags() -> None:
    parse_flags(ALL)
