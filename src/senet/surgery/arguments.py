"""The arguments with which a network calls a module."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from senet.surgery.template import fits, template


@dataclass(frozen=True)
class Arguments:
    """Arguments of one call; tensors stand for their shape and type only.

    Args:
        args: those by position.
        kwargs: those by name.
        only: whether no other call of the module differs in what a graph fixes.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    only: bool = True

    def bind(self, module: nn.Module) -> dict[str, Any]:
        """Return the arguments by name; those left out have their defaults.

        Raises:
            TypeError: if the module's forward does not take them.
        """
        bound = signature(module).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def left_out(self, module: nn.Module) -> set[str]:
        """Return the names of the arguments that have their defaults, as the call does not say them."""
        takes = signature(module)
        return takes.parameters.keys() - takes.bind(*self.args, **self.kwargs).arguments.keys()

    def templates(self, module: nn.Module, *, fix: bool = False) -> dict[str, Any]:
        """Return the templates of all arguments, by name and in the order of the signature."""
        return {name: template(value, fix=fix) for name, value in self.bind(module).items()}

    def beside(self, other: "Arguments", module: nn.Module) -> "Arguments":
        """Return the call, knowing of another one of the module."""
        try:
            same = not self.only or fits(self.templates(module), other.bind(module))
        except (TypeError, ValueError):  # it has no signature, or another one
            return self
        return self if same else replace(self, only=False)


def signature(module: nn.Module) -> inspect.Signature:
    """Return what a module's forward takes; a rewritten container takes what its original takes."""
    return inspect.signature(getattr(module, "_senet_original", module).forward)


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
