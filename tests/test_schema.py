"""Tests of the rules that plain data are held against."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from senet.errors import UsageError
from senet.schema import (
    DOTTED,
    FLAG,
    IDENTIFIER,
    Requirement,
    either,
    finite,
    integer,
    items,
    one_of,
    optional,
    plain_data,
    read_json,
    record,
    table,
    text,
)

RULES = [
    record({"a": integer(0, 9), "b": optional(text(5))}, needed=("a",)),
    table(IDENTIFIER, finite(0, 1), high=3),
    items(either(integer(1, 3), table(IDENTIFIER, FLAG)), low=1, high=2),
    plain_data(3),
]


def nested(depth: int) -> Any:
    tree: Any = []
    for _ in range(depth - 1):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (text(3, low=1), ["a", "äöü"], ["", "abcd", 3, None, b"a", ["a"]]),
        (text(9, pattern=r"\d+", what="digits"), ["12"], ["", "1a", "12\n", "١"]),  # noqa: RUF001 - a digit of another script
        (integer(1, 5), [1, 5], [0, 6, True, 1.0, "1", float("nan"), 10**5000]),
        (finite(0, 1), [0, 1, 0.5], [-0.1, 2, True, float("nan"), float("inf"), "0", None]),
        (finite(above=0), [1e-9, 3], [0, -1, 0.0]),
        (one_of("max", "add"), ["max"], ["mean", "", None, ["max"], {}]),
        (FLAG, [True, False], [0, 1, "true", None]),
        (IDENTIFIER, ["se", "se2", "_x"], ["", "2", "a.b", "a b", "class", "ünicode", 'se", None)', "a" * 300, None, 3]),
        (DOTTED, ["layer1.0.bn2", "0", "a"], ["", ".", "a..b", "a.", ".a", "a b", "a/b", "../a", "a\n", 'a"', "é", "a" * 2000, 1]),
        (optional(FLAG), [None, True], [0, "x"]),
        (either(FLAG, integer(3, 4)), [True, 3], [1, "x", None]),
        (items(integer(0, 2), 1, 2), [[1], (1, 2)], [[], [1, 2, 0], [3], "12", {1: 1}, None]),
        (table(IDENTIFIER, FLAG, high=2), [{}, {"a": True}], [{"a": 1}, {"1": True}, {1: True}, {"a": True, "b": True, "c": True}, [], 3]),
        (record({"a": FLAG}, needed=("a",)), [{"a": True}], [{}, {"a": 1}, {"a": True, "b": 1}, {1: True}, [], None, "a"]),
        (record({"a": FLAG}, others=integer(0, 1)), [{}, {"b": 1}], [{"b": 2}]),
        (
            plain_data(2),
            [3, {"a": [1]}, [], None, nested(2)],
            [nested(3), {1: 1}, {"a": {"b": [1]}}, float("nan"), {"a": [float("inf")]}, {1}, object()],
        ),
        (plain_data(2, allow_nan=True), [float("nan")], [{1}]),
    ],
)
def test_what_a_rule_takes(rule: Requirement, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        rule.check(value, "f")
    for value in bad:
        with pytest.raises(UsageError) as raised:
            rule.check(value, "f")
        assert str(raised.value).startswith(("f: ", "f["))
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 600


def test_errors_name_the_place() -> None:
    rule = record({"plan": record({"sites": items(record({"name": IDENTIFIER}))})})
    with pytest.raises(UsageError, match=r"^w\.safetensors: plan\.sites\[1\]\.name: expected a name of letters.*, got 'a b'$"):
        rule.check({"plan": {"sites": [{"name": "a"}, {"name": "a b"}]}}, "w.safetensors")
    with pytest.raises(UsageError, match=r"plan\.sites\[0\]: unknown field 'nam' \(did you mean 'name'\?\); allowed: name"):
        rule.check({"plan": {"sites": [{"nam": "a"}]}}, "w.safetensors")
    with pytest.raises(UsageError, match=r"f: 'a' is missing"):
        RULES[0].check({}, "f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * 40 + "]" * 40, "at most 32 levels"),
        ("1" * 5000, "not JSON"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('{"a": 1e999}', "finite"),
    ],
)
def test_json_that_is_refused(content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        read_json(content, "f.json", plain_data())
    assert str(raised.value).startswith("f.json: ")
    assert str(raised.value).isprintable()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.sampled_from(["a", "b"]), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN, st.sampled_from(RULES))
def test_any_plain_data_are_taken_as_they_are_or_refused_in_one_line(tree: Any, rule: Requirement) -> None:
    try:
        read = json.dumps(read_json(json.dumps(tree), "f", rule))
    except UsageError as error:
        read = str(error)
    assert read.isprintable()
    assert read == json.dumps(tree) or read.startswith(("f: ", "f["))
