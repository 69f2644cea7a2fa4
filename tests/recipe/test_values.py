"""Plain values into typed ones."""

from typing import Any, Literal

import pytest

from senet.recipe.values import MismatchError, convert, describe_hint, parse_text
from senet.spec import BlockSpec

Crop = Literal["none", "pad"]
Reduction = int | dict[int, int] | None


@pytest.mark.parametrize(
    ("value", "hint", "typed"),
    [
        (3, int, 3),
        ("3", int, 3),
        (3, float, 3.0),
        ("1e-4", float, 1e-4),
        ("no", bool, False),
        ("3", str, "3"),
        ("3", str | None, "3"),
        ("null", str | None, None),
        ("", str | None, ""),
        ("pad", Crop, "pad"),
        ([1, "2"], tuple[int, ...], (1, 2)),
        ([], tuple[int, ...], ()),
        ("[1, 0.5]", tuple[float, float], (1.0, 0.5)),
        ({"2": 8}, Reduction, {2: 8}),
        ("{2: 8}", Reduction, {2: 8}),
        ({"kind": "scse"}, str | BlockSpec | None, BlockSpec("scse")),
        (BlockSpec("scse"), str | BlockSpec | None, BlockSpec("scse")),
        ("{kind: scse}", str | BlockSpec | None, BlockSpec("scse")),
        ("scse", str | BlockSpec | None, "scse"),
        ({"v1_5": True, "rate": "1e-4"}, dict[str, Any], {"v1_5": True, "rate": 1e-4}),
    ],
)
def test_values_become_what_hints_say(value: object, hint: Any, typed: object) -> None:
    found = convert(value, hint)
    assert found == typed
    assert type(found) is type(typed)
    if isinstance(typed, tuple):
        assert list(map(type, found)) == list(map(type, typed))


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (True, int, "expected int, got True"),
        (1, bool, "expected bool, got 1"),
        (1.0, int, "expected int, got 1.0"),
        (True, float, "expected float, got True"),
        ("x", float, "expected float, got x"),
        ("", float, "expected float, got ''"),
        (3, str, "expected str, got 3"),
        (None, int, "expected int, got None"),
        (1.5, int | None, "expected int or null, got 1.5"),
        (5, str | BlockSpec | None, "expected str, the fields of a BlockSpec or null, got 5"),
        ("pda", Crop, "expected one of 'none', 'pad', got pda (did you mean 'pad'?)"),
        (2, tuple[int, ...], "expected a list of ints, got 2"),
        ([1], tuple[float, float], "expected a list of 2 floats, got [1]"),
        ([1, "a"], tuple[int, ...], "expected int, got a"),
        ({"a": 1}, Reduction, "expected int, a mapping of int to int or null, got {'a': 1}"),
        ([1], dict[str, Any], "expected a mapping of str to anything, got [1]"),
        ("[1", tuple[int, ...], "expected a list of ints, got [1"),
    ],
)
def test_a_mismatch_says_what_is_expected_and_what_came(value: object, hint: Any, message: str) -> None:
    with pytest.raises(MismatchError) as caught:
        convert(value, hint)
    assert str(caught.value) == message


def test_hints_in_words() -> None:
    assert describe_hint(tuple[str, str]) == "a list of 2 strings"
    assert describe_hint(int | str | None) == "int, str or null"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-3", -3),
        (".5", 0.5),
        ("0.1", 0.1),
        ("true", True),
        ("null", None),
        ("", ""),
        (" ", " "),
        ("[x", "[x"),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_text_is_yaml_with_all_numbers(text: str, value: object) -> None:
    assert parse_text(text) == value
    assert type(parse_text(text)) is type(value)
