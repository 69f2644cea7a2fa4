"""JSON holds no number that the standard has no word for."""

import ast
import json
from pathlib import Path

import pytest

import senet
from senet.jsontext import json_text

ROUND_TRIPS = {"recipe/tree.py", "recipe/build.py", "weights/check.py", "comparison/variants.py", "models/foreign.py"}
"""Where JSON is read again at once, tells values apart, or spells one value: it leaves no file and no output."""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_null(value: float) -> None:
    text = json_text({"a": value, "b": [1.5, (value, {"c": value})], "d": 10**400, "e": True})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1.5, [None, {"c": None}]], "d": 10**400, "e": True}


def test_text_is_what_json_writes() -> None:
    tree = {"b": [1, 2.5, None, "x"], "a": {"c": []}}
    assert json_text(tree) == json.dumps(tree, indent=2)
    assert json_text(tree, indent=None) == json.dumps(tree)


def test_whatever_is_written_goes_this_way_or_refuses_such_numbers() -> None:
    root = Path(senet.__file__).parent
    careless = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps"):
                strict = any(word.arg == "allow_nan" and ast.unparse(word.value) == "False" for word in node.keywords)
                if not strict and str(path.relative_to(root)) not in ROUND_TRIPS:
                    careless.append(f"{path.relative_to(root)}, line {node.lineno}")
    assert careless == []
