"""Arguments come in the order of the parameters, as Python itself binds them."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from senet.surgery.binding import binder

DEFAULT = object()


def all_kinds(a: int, /, b: object = DEFAULT, *args: Any, c: int, d: Any = "text", **kwargs: Any) -> None: ...


def odd_names(self: int, defaults: object = DEFAULT, lambda_: int = 1, input: int = 2) -> None: ...  # noqa: A002


def nothing() -> None: ...


CALLS: list[tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]] = [
    (all_kinds, (1,), {"c": 3}),
    (all_kinds, (1, 2, 3, 4), {"c": 5, "e": 6}),
    (all_kinds, (1,), {"c": 3, "a": 4, "d": None}),
    (odd_names, (1,), {}),
    (odd_names, (), {"self": 1, "input": 3}),
    (nothing, (), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_values_are_those_that_inspect_binds(function: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    signature = inspect.signature(function)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    assert binder(signature)(*args, **kwargs) == tuple(bound.arguments.values())


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), ((), {"a": 1, "c": 2})])
def test_wrong_calls_are_pythons_own_errors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        binder(inspect.signature(all_kinds))(*args, **kwargs)
