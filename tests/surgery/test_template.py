"""Templates: what is fixed of an argument, what is not, and what fits."""

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn

from senet.surgery.template import Leaf, fits, holds, in_words, template

T, V = Leaf.TENSOR, Leaf.VALUE
Pair = namedtuple("Pair", "one other")
x = torch.zeros(2)

TEMPLATES: dict[str, tuple[Any, Any]] = {
    "tensor": (x, T),
    "parameter": (nn.Parameter(x), T),
    "none": (None, None),
    "text": ("a", "a"),
    "type of number": (torch.float16, torch.float16),
    "function": (torch.relu, torch.relu),
    "number": (0.5, V),
    "flag": (True, V),
    "object": (object(), V),
    "list": ([x, None, 3], [T, None, V]),
    "empty": ((), ()),
    "dictionary": ({"a": x, "b": {"c": "d"}}, {"a": T, "b": {"c": "d"}}),
    "named tuple": (Pair(x, 1), Pair(T, V)),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_choices_are_fixed_and_numbers_are_not(name: str) -> None:
    value, expected = TEMPLATES[name]
    found = template(value, fix=False)
    assert found == expected
    assert type(found) is type(expected)
    assert fits(found, value)


def test_all_but_tensors_can_be_fixed() -> None:
    assert template([x, 1, True, None], fix=True) == [T, 1, True, None]


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (None, x),
        (None, 0),
        ("a", "b"),
        ([T], [x, x]),
        ([T], x),
        ({"a": T}, {"b": x}),
        ((T, None), (x, x)),
        (1, "1"),
        (torch.relu, torch.sigmoid),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_does_not_fit(pattern: Any, value: Any) -> None:
    assert not fits(pattern, value)


def test_leaves_are_found_in_nests() -> None:
    assert holds([{"a": T}], T)
    assert not holds([{"a": T}], V)
    assert not holds(["a", None], T, V)


def test_templates_in_words() -> None:
    assert [in_words(pattern) for pattern in (None, "a", torch.relu, [T, None], ())] == [
        "None",
        "'a'",
        "relu",
        "list of ..., None",
        "tuple of nothing",
    ]
