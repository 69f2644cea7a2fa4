"""A rewritten forward computes what the forward computes, or the network is refused and stays as it was."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from senet.errors import UsageError

RAN = iter(range(10**6))


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient


straight_through = Round.apply


class Unit(nn.Module):
    runs: Tensor

    def __init__(self, shortcut: Callable[["Unit", Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.register_buffer("runs", torch.zeros(()))
        self.count = 0
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(self, x).relu() + self.b(self.a(x).relu())


def without_gradient(_: Unit, x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 2


def without_autocast(_: Unit, x: Tensor) -> Tensor:
    with torch.autocast("cuda", enabled=False):
        return x * 2


def counted(unit: Unit, x: Tensor) -> Tensor:
    unit.count += 1
    return x * unit.count


def counted_in_a_buffer(unit: Unit, x: Tensor) -> Tensor:
    unit.runs += 1
    return x * 2


def tried(_: Unit, x: Tensor) -> Tensor:
    try:
        return x.other  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        return x * 2


UNFAITHFUL = {
    "a block without gradients": without_gradient,
    "a block without autocast": without_autocast,
    "gradients asked for": lambda _, x: x * (2 if torch.is_grad_enabled() else 3),
    "autocast asked for": lambda _, x: x * (2 if torch.is_autocast_enabled("cpu") else 3),
    "the very type": lambda _, x: x * (2 if type(x) is Tensor else 3),
    "a count of runs": counted,
    "a count of runs in a buffer": counted_in_a_buffer,
    "an attribute tried": tried,
    "chance": lambda _, x: x * random.random(),
    "the world": lambda _, x: x * next(RAN),
    "a gradient of its own, by another name": lambda _, x: straight_through(x * 2),
}


def network(shortcut: Callable[[Unit, Tensor], Any]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), Unit(shortcut), nn.Conv2d(8, 4, 1)).eval()


@pytest.mark.parametrize("shortcut", UNFAITHFUL.values(), ids=UNFAITHFUL)
def test_a_forward_that_a_trace_would_change_is_refused_and_stays_as_it_was(shortcut: Callable[[Unit, Tensor], Any]) -> None:
    net = network(shortcut)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UsageError, match=r"\(Unit\)|not a map"):
        senet.insert(net, placement="identity", example_input=torch.randn(2, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.get_submodule("1").count == 0


@pytest.mark.parametrize("shortcut", [lambda _, x: Round.apply(x * 2), lambda _, x: x.detach() * 2, lambda _, x: x * 2])
def test_a_forward_that_a_trace_keeps_is_rewritten_with_its_values_and_gradients(shortcut: Callable[[Unit, Tensor], Any]) -> None:
    net, images = network(shortcut), torch.randn(2, 3, 8, 8)

    def outcome() -> tuple[Tensor, Tensor]:
        net.zero_grad()
        result = net(images)
        result.square().sum().backward()
        gradient = net.get_parameter("0.weight").grad
        assert gradient is not None
        return result.detach(), gradient.clone()

    before = outcome()
    senet.insert(net, placement="identity", init="identity", example_input=images)
    after = outcome()
    assert torch.equal(after[0], before[0])
    torch.testing.assert_close(after[1], before[1])


def test_a_sum_into_the_units_own_input_takes_a_block() -> None:
    class Into(Unit):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(self.b(self.a(x).relu()))

    net = nn.Sequential(nn.Conv2d(3, 8, 1), Into(lambda _, x: x), nn.Conv2d(8, 4, 1)).eval()
    assert [site.path for site in senet.insert(net, example_input=torch.randn(2, 3, 8, 8))] == ["1.b"]
