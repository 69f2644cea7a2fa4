"""Hooks on modules that are taken off when a block of code ends."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def hooked(modules: Iterable[nn.Module], after: Callable[..., Any], before: Callable[..., Any] | None = None) -> Iterator[None]:
    """Listen to calls of modules.

    Args:
        modules: the modules.
        after: called as `nn.Module.register_forward_hook` says, (module, positional arguments, output); what it returns, unless None,
            is the output.
        before: called with (module, positional arguments, keyword arguments) ahead of each call; None = nothing is.
    """
    modules = list(modules)
    handles = [module.register_forward_hook(after) for module in modules]
    if before is not None:
        handles += [module.register_forward_pre_hook(before, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
