"""The C++ operators as torch has them, and what they return for tensors without data; the library must be loaded before."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from senet.ops.passes.maps import precision

OPERATORS = torch.ops.senet_cpp


def register_fakes() -> None:
    """Tell torch what the operators return, for tensors without data."""
    for name, fake in FAKES.items():
        torch.library.register_fake(f"senet_cpp::{name}", fake)


def _map(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


def _two_maps(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


def _moments(x: Tensor, centred: bool) -> tuple[Tensor, ...]:
    return _sums(x, 2)


def _reduce(
    dy: Tensor, y: Tensor | None, x: Tensor, mu: Tensor, r: Tensor | None, r_mu: Tensor | None, keep: bool
) -> tuple[Tensor | None, ...]:
    g, gx, gr = _sums(x, 3)
    return g, gx, None if r_mu is None else gr, torch.empty_like(x) if keep else None


def _spread(dy: Tensor, y: Tensor | None, x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x)


def _apply_positions(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _positions(x)


def _reduce_positions(dy: Tensor, y: Tensor | None, x: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    *_, r_mu, keep = rest
    *sums, gr = _sums(x, 6)
    return *sums, None if r_mu is None else gr, _positions(x), torch.empty_like(x) if keep else None


FAKES: dict[str, Callable[..., Any]] = {
    "moments": _moments,
    "apply": _map,
    "reduce": _reduce,
    "spread": _map,
    "apply_positions": _apply_positions,
    "reduce_positions": _reduce_positions,
    "spread_positions": _map,
    "pair_moments": lambda u, r: _sums(u, 5),
    "reduce_pair": lambda da, *rest: _sums(da, 4),
    "apply_pair": _two_maps,
    "spread_pair": lambda da, *rest: (torch.empty_like(da), da.new_empty(0) if rest[-1] is None else torch.empty_like(da)),
}
"""Operator -> what it returns for tensors without data; arguments are in the order of `tail.cpp`, `spatial.cpp` and `pairs.cpp`."""


def _sums(x: Tensor, count: int) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape[:2], dtype=precision(x)) for _ in range(count))


def _positions(x: Tensor) -> Tensor:
    return x.new_empty((len(x), 1, *x.shape[2:]), dtype=precision(x))
