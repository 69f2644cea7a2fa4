"""Sums of two maps are told by what they compute."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.surgery.flow import Flow
from senet.surgery.trace import Container, trace

FloatFunctional = torch.ao.nn.quantized.FloatFunctional


class Join(nn.Module):
    """A function of two maps, or of a list of them, as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *maps: Any, **named: Any) -> Tensor:
        return self.function(*maps, **named)


class Weighted(nn.Module):
    """A sum with a weight to be learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.weight * y


class Forward(nn.Module):
    """A forward that joins the results of two layers."""

    def __init__(self, join: Callable[..., Tensor]) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.gain = nn.Parameter(torch.ones(4, 1, 1))
        self.add = Join(torch.add)
        self.add_list = Join(lambda maps: maps[0] + maps[1])
        self.add_all = Join(lambda *maps: sum(maps))
        self.add_relu = Join(lambda x, y: F.relu(x + y))
        self.weighted = Weighted()
        self.product, self.largest, self.joined = Join(torch.mul), Join(torch.maximum), Join(lambda x, y: torch.cat([x, y], 1))
        self.ff, self.nested = FloatFunctional(), Join(FloatFunctional().add)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, self.one(x), self.other(x))


SUMS: dict[str, Callable[..., Tensor]] = {
    "operator": lambda m, x, y: x + y,
    "function": lambda m, x, y: torch.add(x, y),
    "by name": lambda m, x, y: torch.add(x, other=y),
    "both by name": lambda m, x, y: torch.add(input=x, other=y),
    "scaled": lambda m, x, y: torch.add(x, y, alpha=0.5),
    "method": lambda m, x, y: x.add(y),
    "method by name": lambda m, x, y: x.add(other=y),
    "in place": lambda m, x, y: x.add_(y),
    "augmented": lambda m, x, y: operator.iadd(x, y),
    "built-in": lambda m, x, y: sum([x, y]),
    "reduced": lambda m, x, y: reduce(operator.add, [x, y]),
    "difference": lambda m, x, y: x - y,
    "difference, function": lambda m, x, y: torch.subtract(x, other=y),
    "difference in place": lambda m, x, y: x.sub_(y),
    "stack": lambda m, x, y: torch.stack([x, y]).sum(0),
    "stack, last axis": lambda m, x, y: torch.stack((x, y), dim=-1).sum(dim=-1),
    "mean of a stack": lambda m, x, y: torch.mean(torch.stack([x, y], 1), 1),
    "interpolation": lambda m, x, y: torch.lerp(x, y, 0.25),
    "with a parameter": lambda m, x, y: torch.addcmul(x, y, m.gain, value=2.0),
    "module": lambda m, x, y: m.add(x, y),
    "module by name": lambda m, x, y: m.add(input=x, other=y),
    "module of a list": lambda m, x, y: m.add_list([x, y]),
    "module of any number": lambda m, x, y: m.add_all(x, y),
    "module with an activation": lambda m, x, y: m.add_relu(x, y),
    "module with a weight": lambda m, x, y: m.weighted(x, y),
    "for quantisation": lambda m, x, y: m.ff.add(x, y),
    "for quantisation, with an activation": lambda m, x, y: m.ff.add_relu(x, y),
    "for quantisation, in a module": lambda m, x, y: m.nested(x, y),
}

OTHERS: dict[str, Callable[..., Tensor]] = {
    "product": lambda m, x, y: x * y,
    "product, module": lambda m, x, y: m.product(x, y),
    "largest": lambda m, x, y: torch.maximum(x, y),
    "largest, module": lambda m, x, y: m.largest(x, y),
    "concatenation": lambda m, x, y: torch.cat([x, y], 1),
    "concatenation, module": lambda m, x, y: m.joined(x, y),
    "matrix product": lambda m, x, y: x @ y,
    "length": lambda m, x, y: torch.hypot(x, y),
    "choice": lambda m, x, y: torch.where(x > 0, x, y),
    "shape alone": lambda m, x, y: x.expand_as(y),
    "size alone": lambda m, x, y: F.interpolate(x, y.shape[2:]),
    "twice the same": lambda m, x, y: torch.stack([x, x]).sum(0),
    "three": lambda m, x, y: torch.stack([x, y, x * y]).sum(0),
    "flattened stack": lambda m, x, y: torch.stack([x, y]).sum(),
}


def sums_of(join: Callable[..., Tensor]) -> list[set[str]]:
    module = Forward(join)
    flow = Flow(Container("", module, trace(module)[0]))
    return [{node.name for node in total.maps} for node in flow.nodes if (total := flow.sum_at(node)) is not None]


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_one_however_it_is_written(name: str) -> None:
    (found,) = sums_of(SUMS[name])
    assert found == ({"add", "other"} if name == "built-in" else {"one", "other"})  # built-in: 0 + one, then + other


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_sum_is_none(name: str) -> None:
    assert sums_of(OTHERS[name]) == []


def test_trying_a_module_leaves_it_as_it_was() -> None:
    module = Forward(SUMS["module with a weight"]).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flow = Flow(Container("", module, trace(module)[0]))
    assert [flow.sum_at(node) is not None for node in flow.nodes].count(True) == 1
    assert module.weighted.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
