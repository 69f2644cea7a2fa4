"""Whether anybody listens to a module: what computes in its place must not pass its hooks by."""

from torch import nn
from torch.nn.modules import module as modules


def has_own_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks that what takes its place would not call; those of all modules hear that too."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling a module calls hooks: its own, or those of all modules."""
    return has_own_hooks(module) or _all_have_hooks()


def is_bare(module: nn.Module) -> bool:
    """Return whether neither a module nor those in it have hooks."""
    return not _all_have_hooks() and _is_bare(module)


def _is_bare(module: nn.Module) -> bool:
    if has_own_hooks(module):
        return False
    for part in module._modules.values():  # noqa: SIM110  # a generator costs as much as what it asks, and every tail asks
        if part is not None and not _is_bare(part):
            return False
    return True


def _all_have_hooks() -> bool:
    forward = modules._global_forward_hooks or modules._global_forward_pre_hooks
    return bool(forward or modules._global_backward_hooks or modules._global_backward_pre_hooks)
