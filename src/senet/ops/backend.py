"""Which implementation of the fused operators runs, and why."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.ops.passes.protocol import Kernels
from senet.ops.passes.torch import CompiledKernels
from senet.spec import check_choice

REFERENCE = "reference"
UNREQUESTED = "best"
_requested: ContextVar[str | None] = ContextVar("backend", default=None)


class _Request:
    """Name of the backend asked for last, or None, where compilers read it: torch 2.11's trace attributes, but no context variables."""

    name: str | None = None


_last_requested = _Request()
_open: dict[object, str] = {}
"""The requests that hold in some thread, in their order."""


class Choice(NamedTuple):
    """Backend that runs, its kernels (None = the definition, operation by operation), and why it was chosen."""

    name: str
    kernels: Kernels | None
    reason: str


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the residual tails inside a `with` block by one backend.

    Without it the best one for the maps' device runs, and for the tails of small maps the definition. The block holds for its thread; code
    made by torch.compile takes what any thread asked for last.

    Args:
        name: "reference" (torch's operations one by one, the definition), "compiled" (the fused operator in torch's operations, through
            torch.compile), "cpp" (the fused operator in C++, for CPUs; needs a C++ compiler and ninja when it is used first) or "triton"
            (the fused operator in Triton, for CUDA devices).

    Raises:
        UsageError: for another name. Tensors that the backend cannot take raise it where it is used.
    """
    check_choice("backend", name, (REFERENCE, *BUILDERS))
    token, request = _requested.set(name), object()
    _open[request] = _last_requested.name = name
    try:
        yield
    finally:
        _requested.reset(token)
        del _open[request]
        _last_requested.name = next(reversed(_open.values()), None)  # threads may leave in another order than they came


def requested() -> str | None:
    """Return the name of the backend that is asked for here, if one is."""
    return _last_requested.name if torch.compiler.is_compiling() else _requested.get()


def requested_or_best(device: str) -> str:
    """Return the backend's name for a compiler: one asked for, else "best" where there is one that runs here, else the definition's."""
    return requested() or (UNREQUESTED if has_best(device) else REFERENCE)


@torch.compiler.assume_constant_result
def has_best(device: str) -> bool:
    """Return whether a backend beside the definition runs on a type of device; why one that should does not is said once."""
    return named(UNREQUESTED, device).kernels is not None


def choose(x: Tensor) -> Choice:
    """Return the backend for a tail of these maps.

    Raises:
        UsageError: if `backend` asked for one that cannot run here.
    """
    return named(requested() or UNREQUESTED, x.device.type)


def named(name: str, device: str) -> Choice:
    """Return a backend by its name, or the best for a type of device.

    Raises:
        UsageError: if it cannot run here.
    """
    if name == REFERENCE:
        return Choice(REFERENCE, None, "asked for")
    if name != UNREQUESTED:
        kernels, reason = BUILDERS[name](device)
        if kernels is None:
            raise UsageError(f"the backend {name!r} cannot run here: {reason}; use senet.backend({REFERENCE!r})")
        return Choice(name, kernels, "asked for")
    found = fastest(device)
    if found.kernels is None and device in BEST:
        _warn_once(BEST[device], found.reason)
    return found


def fastest(device: str) -> Choice:
    """Return the backend that runs on a type of device where none is asked for; it may have to be built first."""
    best = BEST.get(device)
    if best is None:
        return Choice(REFERENCE, None, f"there is no faster backend for {device}")
    kernels, reason = BUILDERS[best](device)
    return Choice(REFERENCE, None, reason) if kernels is None else Choice(best, kernels, f"the fastest for {device}")


@cache
def _warn_once(name: str, reason: str) -> None:
    warnings.warn(f"senet computes without its {name} operators: {reason}", RuntimeWarning, stacklevel=2)


Built = tuple[Kernels | None, str]
"""Kernels, or None and why there are none."""


def _compiled(device: str) -> Built:
    return CompiledKernels(), ""


def _cpp(device: str) -> Built:
    if device != "cpu":
        return None, f"it computes on CPUs, and the maps are on {device}"
    from senet.ops.passes.cpp.build import kernels

    return kernels()


def _triton(device: str) -> Built:
    from senet.ops.passes.triton.load import load

    return load(device)


BUILDERS: dict[str, Callable[[str], Built]] = {"compiled": _compiled, "cpp": _cpp, "triton": _triton}
BEST: dict[str, str] = {"cpu": "cpp", "cuda": "triton"}
"""Type of device -> the backend that runs there unless another is asked for."""
