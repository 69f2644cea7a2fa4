"""A branch and its shortcut make a residual unit in whatever form they are added, and where they are joined otherwise the plan says so."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from senet.errors import UsageError


class Unit(nn.Module):
    """Two convolutions, joined with their input."""

    def __init__(self, join: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.gain = nn.Parameter(torch.full((8, 1, 1), 0.5))
        self.add = Add()
        self.ff = nn.ModuleDict({"ff": torch.ao.nn.quantized.FloatFunctional()})
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x, self.conv2(self.conv1(x).relu()))


class Add(nn.Module):
    """A sum as a module."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


JOINS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "sum": lambda m, x, y: x + y,
    "scaled": lambda m, x, y: x + 0.1 * y,
    "gain": lambda m, x, y: x + m.gain * y,
    "module": lambda m, x, y: m.add(x, y),
    "nested module": lambda m, x, y: m.ff["ff"].add(x, y),
    "by name": lambda m, x, y: torch.add(x, other=y, alpha=0.5),
    "stack": lambda m, x, y: torch.stack([x, y]).sum(0),
    "difference": lambda m, x, y: x - y,
    "other difference": lambda m, x, y: y - x,
    "in place": lambda m, x, y: y.add_(x),
    "built-in": lambda m, x, y: sum([x, y]),  # pyright: ignore[reportArgumentType, reportReturnType]
    "interpolation": lambda m, x, y: torch.lerp(x, y, m.gain),
    "product and sum": lambda m, x, y: torch.addcmul(x, y, m.gain),
}


def network(join: Callable[[Any, Tensor, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), Unit(join), nn.Conv2d(8, 8, 1)).eval()


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
@pytest.mark.parametrize("name", JOINS)
def test_every_form_of_sum_takes_every_placement(name: str, placement: str) -> None:
    model, x = network(JOINS[name]), torch.randn(2, 3, 6, 6)
    before = model(x)
    plan = senet.insert(model, placement=placement, init="identity")
    assert [(site.kind, site.channels) for site in plan] == [("residual", 8)]
    assert plan.notes == ()
    torch.testing.assert_close(model(x), before)
    senet.remove(model)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("name", [name for name in JOINS if name not in ("scaled", "gain")])  # there it sees the scaled branch
def test_a_competitive_block_sees_both_sides_of_every_form(name: str) -> None:
    model, x = network(JOINS[name]), torch.randn(2, 8, 6, 6)
    unit: Any = model[1]
    y = unit.conv2(unit.conv1(x).relu())
    senet.insert(model, senet.BlockSpec("cmpe_se", reduction=2))
    with torch.no_grad():
        expected = JOINS[name](unit, x.clone(), model[1].get_submodule("se")(y, x))
        torch.testing.assert_close(model[1](x.clone()), expected)


@pytest.mark.parametrize(
    ("name", "join"),
    [
        ("maximum", lambda m, x, y: torch.maximum(x, y)),
        ("where", lambda m, x, y: torch.where(x > 0, x, y)),
        ("stack", lambda m, x, y: torch.stack([x, y, 2 * x]).sum(0)),
        ("cat", lambda m, x, y: torch.cat([x[None], y[None]]).sum(0)),
    ],
)
def test_a_join_that_is_no_sum_is_named(name: str, join: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    plan = senet.find_sites(network(join))
    assert plan.notes == (f"not understood: {name} joins a branch and its shortcut in 1; no block is placed by it, at= can name modules",)


def test_a_network_whose_only_join_is_not_understood_says_so() -> None:
    class Other(Unit):
        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(x, self.conv1(x))

    with pytest.raises(UsageError, match=r"found no site in Sequential \(not understood: maximum joins a branch and its shortcut in 1; "):
        senet.find_sites(nn.Sequential(nn.Conv2d(3, 8, 1), Other(JOINS["sum"]), nn.Conv2d(8, 8, 1)))
