"""Units take what their forwards take, by whatever names, kinds and defaults: they are found, and rewritten for the calls that they get."""

import copy
import enum
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import senet
from senet.errors import UsageError


class Mode(enum.Enum):
    """A choice."""

    ON = "on"
    OFF = "off"


class Branch(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def branch(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


class Network(nn.Module):
    """A unit, and how it is called."""

    def __init__(self, unit: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.unit, self.call = nn.Conv2d(3, 8, 1), unit, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.unit, self.stem(x))


def unit(forward: Callable[..., Any]) -> nn.Module:
    """Return a unit with this forward."""
    return type("Unit", (Branch,), {"forward": forward})()


def by_choice(chosen: bool) -> Callable[[Any, Tensor], Tensor]:
    return lambda self, x: x + self.branch(x) if chosen else x


def plain(self: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
    return x + self.branch(x)


def masked(self: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
    return x + (self.branch(x) if mask is None else self.branch(x) * mask)


def flagged(self: Any, x: Tensor, flag: bool = True) -> Tensor:
    return x + self.branch(x) if flag is True else x


def scaled(self: Any, x: Tensor, scale: float = 0.5, size: tuple[int, ...] = (1, 2)) -> Tensor:
    return x + self.branch(x) * scale * size[0]


def keyword(self: Any, x: Tensor, *, mode: str = "on", mask: Tensor | None = None) -> Tensor:
    return x + self.branch(x) if mode == "on" else x


def enumerated(self: Any, x: Tensor, mode: Mode = Mode.ON) -> Tensor:
    return x + self.branch(x) if mode is Mode.ON else x


def callable_default(self: Any, x: Tensor, act: Callable[[Tensor], Tensor] = F.relu) -> Tensor:
    return x + act(self.branch(x))


def sentinel(self: Any, x: Tensor, more: object = object()) -> Tensor:
    return x + self.branch(x)


def many(self: Any, x: Tensor, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    return x + self.branch(x) + (args[0] if args else 0)


def positional_only(self: Any, x: Tensor, /, mask: Tensor | None = None) -> Tensor:
    return x + self.branch(x)


def builtins(self: Any, input: Tensor, getattr: Any = None, torch: Any = None, operator: Any = None) -> Tensor:  # noqa: A002
    return input + self.branch(input)[:, :]


def numbered(self: Any, x_1: Tensor, x: Any = None, conv: Any = None, add: Any = None) -> Tensor:
    return x_1 + self.branch(x_1)


def called_self(module: Any, self: Tensor, forward: Any = None) -> Tensor:
    return self + module.branch(self)


def first(self: Any, maps: list[Tensor], mask: Tensor | None = None) -> Tensor:
    return maps[0] + self.branch(maps[0])


def tensor_or_list(self: Any, maps: Any) -> Tensor:
    x = maps if isinstance(maps, Tensor) else torch.cat(list(maps), 1)[:, :8]
    return x + self.branch(x)


def entry(self: Any, maps: dict[str, Any]) -> Tensor:
    return maps["x"] + self.branch(maps["x"]) if maps["none"] is None else maps["x"]


def unpacked(self: Any, pair: tuple[Tensor, Tensor]) -> Tensor:
    one, other = pair
    return one + self.branch(one) * other


def once(u: nn.Module, x: Tensor) -> Tensor:
    return u(x)


UNITS: dict[str, tuple[Callable[..., Any], Callable[[nn.Module, Tensor], Tensor]]] = {
    "optional": (plain, once),
    "optional, given": (masked, lambda u, x: u(x, mask=torch.ones_like(x))),
    "flag": (flagged, once),
    "number and tuple": (scaled, once),
    "number and tuple, given": (scaled, lambda u, x: u(x, 0.25, size=(2, 3))),
    "keyword-only": (keyword, once),
    "keyword-only, given": (keyword, lambda u, x: u(x, mode="on")),
    "enumeration": (enumerated, once),
    "function": (callable_default, once),
    "object": (sentinel, once),
    "more of both kinds": (many, once),
    "more of both kinds, given": (many, lambda u, x: u(x, x, None, mask=x, extra=1)),
    "positional-only": (positional_only, lambda u, x: u(x, mask=None)),
    "names of functions": (builtins, once),
    "names of functions, given": (builtins, lambda u, x: u(input=x)),
    "numbered names": (numbered, once),
    "named self": (called_self, once),
    "list": (first, lambda u, x: u([x, x])),
    "tensor": (tensor_or_list, once),
    "one or several": (tensor_or_list, lambda u, x: u((x, x))),
    "dictionary": (entry, lambda u, x: u({"x": x, "none": None})),
    "pair": (unpacked, lambda u, x: u((x, x))),
}


@pytest.mark.parametrize("placement", ["standard", "identity"])
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_found_and_rewritten_whatever_it_takes(name: str, placement: str) -> None:
    forward, call = UNITS[name]
    torch.manual_seed(0)
    model, x = Network(unit(forward), call).eval(), torch.randn(2, 3, 6, 6)
    before = model(x)
    plan = senet.find_sites(model, placement=placement)
    assert [(site.kind, site.channels) for site in plan] == [("residual", 8)]
    assert plan.notes == ()
    (site,) = senet.insert(model, senet.InsertPlan.from_json(plan.to_json()), init="identity")
    assert placement == "standard" or site.position == "graph"
    torch.testing.assert_close(model(x), before)
    model = copy.deepcopy(model)
    torch.testing.assert_close(model(x), before)
    senet.remove(model)
    assert torch.equal(model(x), before)


def test_a_number_that_decides_and_is_given_is_not_frozen() -> None:
    model = Network(unit(flagged), lambda u, x: u(x, u.training is False))
    with pytest.raises(UsageError, match=r"the forward of unit .* depends on its arguments: its traced form would have one way of several"):
        senet.find_sites(model, placement="identity")


def test_a_unit_that_is_called_in_several_ways_is_not_frozen() -> None:
    model = Network(unit(keyword), lambda u, x: u(u(x), mode="off"))
    with pytest.raises(UsageError, match=r"the forward of unit .* depends on its arguments"):
        senet.find_sites(model, placement="identity")


def test_a_rewritten_unit_refuses_another_choice_in_one_line() -> None:
    model = Network(unit(keyword), once).eval()
    senet.insert(model, placement="identity")
    x = torch.randn(2, 8, 6, 6)
    assert model.unit(x, mode="on").shape == x.shape
    with pytest.raises(UsageError, match=r"^RewrittenUnit was made for calls with mode='on', as the network's were$"):
        model.unit(x, mode="off")


def test_a_rewritten_unit_takes_other_numbers() -> None:
    torch.manual_seed(0)
    model, x = Network(unit(scaled), once).eval(), torch.randn(2, 8, 6, 6)
    plain = copy.deepcopy(model.unit)
    senet.insert(model, placement="identity", init="identity")
    torch.testing.assert_close(model.unit(x, 3.0, size=(5, 1)), plain(x, 3.0, size=(5, 1)))
