"""Prove that a forward's traced form computes what the forward computes: values and gradients, in two runs one after the other."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from senet.errors import reason_of
from senet.surgery.arguments import Arguments, materialise, tensors
from senet.surgery.preserve import evaluating, unchanged

CLOSE = 1e-3
"""Largest difference, as a part of the largest number; times ten in half precision."""


def unfaithful(original: nn.Module, traced: nn.Module, call: Arguments) -> str | None:
    """Return in which way two modules with the same tensors differ, in evaluation mode, or None.

    Args:
        original: the module whose forward was traced; nothing of it changes. One that does not run on random numbers is taken on trust.
        traced: its traced form.
        call: how the network calls it.
    """
    device = next((tensor.device for tensor in (*original.parameters(), *original.buffers())), torch.device("cpu"))
    if device.type == "meta":
        return None
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        given = materialise((call.args, dict(call.kwargs)), device)
        for run in (_gradients, _values):
            with suppress(Exception):  # some forwards have no gradient, or want other numbers
                expected = run(original, *given)
                break
        else:
            return None
        try:
            found = run(traced, *given)
        except Exception as error:  # a forward may do anything with a symbol
            return f"it fails with {type(error).__name__}: {reason_of(error, 120)}"
    return next((f"its {name} differ" for name in expected if not _close(expected[name], found[name])), None)


def _values(module: nn.Module, args: Any, kwargs: Any) -> dict[str, list[Any]]:
    with torch.no_grad():
        return {"results": _twice(module, _copies(dict(module.state_dict(keep_vars=True))), args, kwargs)}


def _gradients(module: nn.Module, args: Any, kwargs: Any) -> dict[str, list[Any]]:
    with torch.enable_grad():
        state, (args, kwargs) = _copies(dict(module.state_dict(keep_vars=True))), _copies((args, kwargs))
        results = _twice(module, state, args, kwargs)
        torch.manual_seed(1)
        loss = sum(((tensor * torch.randn_like(tensor)).sum().float() for tensor in results if tensor.requires_grad), torch.zeros(()))
        leaves = [tensor for tensor in (*tensors((args, kwargs)), *state.values()) if tensor.requires_grad]
        found = torch.autograd.grad(loss, leaves, allow_unused=True) if loss.requires_grad else [None] * len(leaves)
    return {"results": [tensor.detach() for tensor in results], "gradients": list(found)}


def _copies(tree: Any) -> Any:
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().clone().requires_grad_(tensor.is_floating_point()), tree)


def _twice(module: nn.Module, state: Mapping[str, Tensor], args: Any, kwargs: Any) -> list[Tensor]:
    """Run a module twice, as it may count its runs; what it overwrites are copies."""
    torch.manual_seed(0)
    own = pytree.tree_map_only(Tensor, torch.clone, dict(state))
    with unchanged(*module.modules()), evaluating(module):
        runs = [functional_call(module, own, *pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))) for _ in range(2)]
    return tensors((runs, [tensor.detach() for tensor in own.values()]))


def _close(expected: list[Any], found: list[Any]) -> bool:
    if len(expected) != len(found):
        return False
    return all(_near(one, other) for one, other in zip(expected, found, strict=True))


def _near(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    finite = one[one.isfinite()]
    share = CLOSE if one.dtype in (torch.float32, torch.float64) else 10 * CLOSE
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=share, atol=share * largest, equal_nan=True)
