"""Arguments of a call in the order of a signature, bound by Python itself: a compiled graph takes them by position alone."""

import inspect
from collections.abc import Callable
from typing import Any


class _Written:
    """Default of a parameter, printed as the expression that gives it."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __repr__(self) -> str:
        return self.expression


def binder(signature: inspect.Signature) -> Callable[..., tuple[Any, ...]]:
    """Return a function that takes what a signature says, and returns one value for each parameter, in their order.

    Further positional arguments are one value, a tuple; further keyword arguments one, a dictionary. `inspect.Signature.bind` does the same
    at many times the cost, and torch.compile does not look into it.
    """
    parameters = list(signature.parameters.values())
    defaults = [parameter.default for parameter in parameters]
    written = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty if parameter.default is parameter.empty else _Written(f"defaults[{index}]"),
        )
        for index, parameter in enumerate(parameters)
    ]
    takes = str(inspect.Signature(written))[1:-1]
    gives = "".join(f"{parameter.name}, " for parameter in parameters)
    return eval(f"lambda {takes}: ({gives})", {"defaults": defaults})  # the names are those of a forward's parameters
