"""Whether a module is listened to: by hooks of its own, of all modules, and of those in it."""

import pytest
from torch import nn
from torch.nn.modules import module as modules

from senet.ops.hooks import has_hooks, has_own_hooks, is_bare

OWN = ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook")
OF_ALL = (
    modules.register_module_forward_hook,
    modules.register_module_forward_pre_hook,
    modules.register_module_full_backward_hook,
    modules.register_module_full_backward_pre_hook,
)


def listen(*_: object) -> None:
    pass


@pytest.mark.parametrize("register", OWN)
def test_a_modules_own_hooks(register: str) -> None:
    layer = nn.Linear(2, 2)
    outer = nn.Sequential(layer)
    handle = getattr(layer, register)(listen)
    assert has_own_hooks(layer)
    assert has_hooks(layer)
    assert not has_hooks(outer)
    assert not is_bare(outer)
    handle.remove()
    assert is_bare(outer)


@pytest.mark.parametrize("register", OF_ALL)
def test_hooks_of_all_modules(register: object) -> None:
    assert callable(register)
    handle = register(listen)
    assert has_hooks(nn.Identity())
    assert not has_own_hooks(nn.Identity())
    handle.remove()
    assert not has_hooks(nn.Identity())
