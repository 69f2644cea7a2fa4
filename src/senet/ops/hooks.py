"""Whether hooks listen to a module: what computes in its place would not call them."""

from torch import nn
from torch.nn.modules import module as modules


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks of its own."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)


def runs_hooks(module: nn.Module) -> bool:
    """Return whether a call of a module runs hooks, its own or those registered for all modules."""
    everyones = (modules._global_forward_hooks, modules._global_forward_pre_hooks, modules._global_backward_hooks)
    return has_hooks(module) or any((*everyones, modules._global_backward_pre_hooks))
