"""Modules are replaced wherever they are registered, and nothing else is."""

from torch import nn

from senet.surgery.replace import replace_modules


def test_every_name_of_a_module_gets_what_stands_for_it() -> None:
    shared, other, new = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    model = nn.Sequential(shared, nn.Sequential(other, shared), nn.ModuleDict({"again": shared}))
    replace_modules(model, {shared: new})
    assert [path for path, module in model.named_modules(remove_duplicate=False) if module is new] == ["0", "1.1", "2.again"]
    assert model.get_submodule("1.0") is other
    assert shared not in set(model.modules())


def test_a_module_may_be_put_into_what_replaces_it() -> None:
    old = nn.ReLU()
    model = nn.Sequential(old)
    replace_modules(model, {old: nn.Sequential(old)})
    assert [path for path, module in model.named_modules() if module is old] == ["0.0"]


def test_several_are_replaced_at_once_below_one_that_is_replaced_too() -> None:
    inner = nn.ReLU()
    container = nn.Sequential(inner)
    model = nn.Sequential(container)
    replace_modules(model, {inner: nn.Tanh(), container: container})
    assert isinstance(model.get_submodule("0.0"), nn.Tanh)


def test_the_root_and_empty_places_stay() -> None:
    model = nn.Sequential(nn.ReLU())
    model.register_module("nothing", None)
    replace_modules(model, {model: nn.Identity()})
    assert isinstance(model[0], nn.ReLU)
    assert model.get_submodule("") is model
    assert model._modules["nothing"] is None
