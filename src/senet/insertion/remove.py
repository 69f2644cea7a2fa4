"""Take inserted blocks out of a network again."""

from collections.abc import Callable

from torch import nn

from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.history import set_plans
from senet.insertion.rewrite import Rewritten, blocks_within, restored
from senet.surgery.replace import replace_modules
from senet.surgery.wrappers import unwrap


def remove(model: nn.Module) -> None:
    """Take all inserted blocks out of a network; its outputs are bit-identical to those before.

    Raises:
        UsageError: if nothing is inserted, or the network is itself the wrapper of a block, which only what holds it can replace.
    """
    if isinstance(model, Gated | Rewritten):
        wrapped = type(model.host if isinstance(model, Gated) else model._senet.original).__name__
        raise UsageError(f"this {wrapped} is itself wrapped with a block, which only its parent can take off: call remove on the network")
    model = unwrap(model)
    if not any(isinstance(module, Gated | Rewritten) for module in model.modules()):
        raise UsageError(f"there is nothing to remove: {type(model).__name__} has no inserted blocks")
    unwrap_blocks(model, lambda block: True)
    set_plans(model, [])


def unwrap_blocks(model: nn.Module, chosen: Callable[[nn.Module], bool]) -> None:
    """Put hosts and original containers back in the place of what holds one of the chosen blocks, the outermost first."""
    while holders := [module for module in model.modules() if module is not model and any(map(chosen, inserted_blocks_of(module)))]:
        replace_modules(model, {holder: _inner(holder) for holder in holders})


def inserted_blocks_of(module: nn.Module) -> list[nn.Module]:
    """Return the blocks that a module holds because they were inserted there."""
    if isinstance(module, Rewritten):
        return blocks_within(module)
    return [module.se] if isinstance(module, Gated) else []


def _inner(holder: nn.Module) -> nn.Module:
    return restored(holder) if isinstance(holder, Rewritten) else holder.get_submodule("host")
