"""What listens to a module, by every way of registering a hook."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torch.nn.modules import module as modules

from senet.ops.hooks import has_hooks, runs_hooks


def hook(*_: Any) -> None:
    """Do nothing."""


OWN: dict[str, Callable[[nn.Module], Any]] = {
    "forward": lambda module: module.register_forward_hook(hook),
    "forward pre": lambda module: module.register_forward_pre_hook(hook),
    "backward": lambda module: module.register_full_backward_hook(hook),
    "backward pre": lambda module: module.register_full_backward_pre_hook(hook),
}
GLOBAL: dict[str, Callable[[], Any]] = {
    "forward": lambda: modules.register_module_forward_hook(hook),
    "forward pre": lambda: modules.register_module_forward_pre_hook(hook),
    "backward": lambda: modules.register_module_full_backward_hook(hook),
    "backward pre": lambda: modules.register_module_full_backward_pre_hook(hook),
}


@pytest.mark.parametrize("register", OWN.values(), ids=OWN)
def test_a_modules_own_hooks_are_seen_until_they_are_removed(register: Callable[[nn.Module], Any]) -> None:
    module, other = nn.Identity(), nn.Identity()
    handle = register(module)
    assert (has_hooks(module), runs_hooks(module)) == (True, True)
    assert (has_hooks(other), runs_hooks(other)) == (False, False)
    handle.remove()
    assert (has_hooks(module), runs_hooks(module)) == (False, False)


@pytest.mark.parametrize("register", GLOBAL.values(), ids=GLOBAL)
def test_hooks_for_all_modules_run_at_every_call_but_belong_to_none(register: Callable[[], Any]) -> None:
    module = nn.Identity()
    handle = register()
    try:
        assert (has_hooks(module), runs_hooks(module)) == (False, True)
    finally:
        handle.remove()
    assert not runs_hooks(module)
