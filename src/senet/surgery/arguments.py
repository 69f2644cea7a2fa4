"""The arguments with which a network calls a module."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Arguments:
    """Arguments of one call; tensors stand for their shape and type only."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def bind(self, module: nn.Module) -> dict[str, Any]:
        """Return the arguments by name; those left out have their defaults.

        Raises:
            TypeError: if the module's forward does not take them.
        """
        bound = signature(module).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def absent(self, module: nn.Module) -> dict[str, None]:
        """Return the arguments that the call leaves None, by name."""
        return {name: value for name, value in self.bind(module).items() if value is None}

    def without_tensors(self, module: nn.Module) -> dict[str, Any]:
        """Return the arguments that hold no tensors, by name."""
        return {name: value for name, value in self.bind(module).items() if not tensors(value)}


def signature(module: nn.Module) -> inspect.Signature:
    """Return what a module's forward takes; a rewritten container takes what its original takes."""
    return inspect.signature(getattr(module, "original", module).forward)


def tensors(tree: Any) -> list[Tensor]:
    """Return the tensors in a nest of lists, tuples and mappings."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def materialise(tree: Any, device: torch.device) -> Any:
    """Replace tensors that have a shape only by real ones: normal numbers, zeros where they are not floating point."""

    def real(tensor: Tensor) -> Tensor:
        if tensor.device.type != "meta":
            return tensor.to(device)
        make = torch.randn if tensor.is_floating_point() else torch.zeros
        return make(tensor.shape, dtype=tensor.dtype, device=device)

    return pytree.tree_map_only(Tensor, real, tree)
