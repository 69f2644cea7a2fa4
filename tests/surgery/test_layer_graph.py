"""Graphs in which layers are nodes, of a network and of what lies around a module, however it can be traced."""

from typing import Any

import torch
from torch import Tensor, nn

from senet.surgery.layer_graph import LayerGraph, LayerGraphs


class Unit(nn.Module):
    """Convolution and BN in a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class Choosing(nn.Module):
    """Module whose way depends on the numbers, around one that can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Unit()

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x) if x.sum() > 0 else x


class Optional(nn.Module):
    """Module with an argument that its network gives."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Unit()

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.unit(x) * scale if scale != 1 else self.unit(x)


class Caller(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Optional()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, 3.0) if x.sum() is not None and x.shape[0] else x


def graphs(model: nn.Module, path: str, closed: Any = lambda module: False) -> list[LayerGraph | str]:
    return list(LayerGraphs(model, closed).around(path))


def layers(graph: LayerGraph | str) -> list[str]:
    assert isinstance(graph, LayerGraph)
    return [str(node.target) for node in graph.nodes if node.op == "call_module"]


def test_layers_of_all_modules_are_nodes() -> None:
    model = nn.Sequential(Unit(), nn.Sequential(Unit()))
    whole, inner, unit = graphs(model, "1.0.conv")
    assert layers(whole) == ["0.conv", "0.norm", "1.0.conv", "1.0.norm"]
    assert layers(inner) == ["0.conv", "0.norm"]
    assert layers(unit) == ["conv", "norm"]


def test_what_a_module_returns_is_noted() -> None:
    model = nn.Sequential(Unit(), Unit())
    (whole, *_) = graphs(model, "1.conv")
    assert isinstance(whole, LayerGraph)
    returned = {node.name: modules for node, modules in whole.returned.items()}
    assert model[0] in returned["relu"]
    assert model[1] in returned["relu_1"]
    assert not returned.keys() - {"relu", "relu_1"}


def test_a_closed_module_is_a_node() -> None:
    (whole, *_) = graphs(nn.Sequential(Unit(), Unit()), "1.conv", closed=lambda module: isinstance(module, Unit))
    assert layers(whole) == ["0", "1"]


def test_the_part_around_that_can_be_traced() -> None:
    whole, choosing, unit = graphs(nn.Sequential(Choosing()), "0.unit.conv")
    assert isinstance(whole, str)
    assert "cannot be traced" in whole
    assert isinstance(choosing, str)
    assert choosing.startswith("the forward of 0 cannot be traced")
    assert layers(unit) == ["conv", "norm"]


def test_a_module_is_called_as_its_network_calls_it() -> None:
    _, inner, _ = graphs(Caller(), "inner.unit.conv")
    assert isinstance(inner, LayerGraph)
    assert [inner.name(node) for node in inner.nodes if node.op == "call_function"] == ["relu", "mul"]


def test_one_call_of_a_module() -> None:
    model: Any = nn.Sequential(Unit(), Unit())
    (whole, *_) = graphs(model, "1.conv")
    assert isinstance(whole, LayerGraph)
    node = whole.call_of(model[0].conv)
    assert node is not None
    assert node.target == "0.conv"
    assert whole.call_of(nn.Conv2d(1, 1, 1)) is None
    twice: Any = nn.Sequential(shared := Unit(), shared)
    (whole, *_) = graphs(twice, "0.conv")
    assert isinstance(whole, LayerGraph)
    assert whole.call_of(shared.conv) is None
