"""Symbols of tensors, and what Python sees of them while a forward is traced."""

import builtins
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.autograd import Function
from torch.utils import _pytree as pytree

_isinstance = builtins.isinstance
_apply: Any = inspect.getattr_static(Function, "apply")


class TensorProxy(fx.Proxy):
    """Symbol of an argument that is a tensor, and says so to a forward that asks."""

    _is_param = _is_buffer = False


@dataclass(frozen=True)
class Applied:
    """Application of a function with a gradient of its own.

    Args:
        function: the function.
    """

    function: type[Function]

    @property
    def __name__(self) -> str:
        """Name in the code of a graph."""
        return self.function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function."""
        return _apply.__get__(None, self.function)(*args, **kwargs)


@contextmanager
def symbols_are_tensors() -> Iterator[None]:
    """Make `isinstance` take symbols for tensors, and functions with a gradient of their own nodes of the graph.

    Only Python is told so: the symbols' class stays what it is, as code in C would read them as the tensors that they are not.
    """
    builtins.isinstance = _takes_symbols  # pyright: ignore[reportAttributeAccessIssue]
    Function.apply = classmethod(_applied)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        builtins.isinstance = _isinstance
        if "apply" in vars(Function) and _apply is not vars(Function)["apply"]:
            del Function.apply
        if inspect.getattr_static(Function, "apply") is not _apply:
            Function.apply = _apply


def _takes_symbols(value: object, kinds: Any, /) -> bool:
    return _isinstance(value, kinds) or (issubclass(type(value), TensorProxy) and issubclass(Tensor, kinds))


def _applied(function: type[Function], *args: Any, **kwargs: Any) -> Any:
    symbols = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if _isinstance(leaf, fx.Proxy)]
    if not symbols:
        return Applied(function)(*args, **kwargs)
    return symbols[0].tracer.create_proxy("call_function", Applied(function), args, kwargs)


def modes() -> tuple[bool, ...]:
    """Return what a `with` around an operation may change of it: gradients, inference, the types of autocast."""
    casts = (torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))
    return (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *casts)


@contextmanager
def other_modes() -> Iterator[None]:
    """Turn autocast the other way round, for a forward that asks for it or sets it."""
    before = {device: torch.is_autocast_enabled(device) for device in ("cpu", "cuda")}
    try:
        for device, enabled in before.items():
            torch.set_autocast_enabled(device, not enabled)
        yield
    finally:
        for device, enabled in before.items():
            torch.set_autocast_enabled(device, enabled)
        torch.clear_autocast_cache()
