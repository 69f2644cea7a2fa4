"""What the graph of a forward says: who calls whom, what comes from what, what overwrites."""

import operator
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from senet.surgery.graph import ModuleGraph, operands
from senet.surgery.trace import Container, trace


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.again = self.conv
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        u = self.conv(x)
        y = self.again(torch.sigmoid(u))
        return self.relu(u.mul(y) + x)


def graph_of(module: nn.Module, path: str = "") -> ModuleGraph:
    return ModuleGraph(Container(path, module, trace(module)[0]))


@pytest.fixture
def graph() -> ModuleGraph:
    return graph_of(Unit(), "layer1.0")


def nodes(graph: ModuleGraph) -> dict[str, torch.fx.Node]:
    return {node.name: node for node in graph.nodes}


def test_names_modules_and_paths(graph: ModuleGraph) -> None:
    named = nodes(graph)
    assert {name: graph.name(node) for name, node in named.items()} == {
        "x": "",
        "conv": "",
        "sigmoid": "sigmoid",
        "conv_1": "",
        "mul": "mul",
        "add": "add",
        "relu": "",
        "output": "",
    }
    assert graph.module(named["x"]) is None
    assert graph.called(named["conv_1"]) is graph.container.module.get_submodule("conv")
    assert graph.module_path(named["relu"]) == "layer1.0.relu"
    assert graph.output is named["output"]


def test_a_module_called_under_two_names_is_counted_twice(graph: ModuleGraph) -> None:
    unit = graph.container.module
    assert graph.calls == {unit.get_submodule("conv"): 2, unit.get_submodule("relu"): 1}


def test_ancestors_forks_and_paths(graph: ModuleGraph) -> None:
    x, conv, sigmoid, again, product, total, *_ = graph.nodes
    assert graph.ancestors(again) == {x, conv, sigmoid, again}
    assert graph.common_ancestor([again, conv]) is conv
    assert graph.common_ancestor([product, x]) is x
    assert graph.path(conv, total) == [sigmoid, again, product, total]
    assert graph.path(conv, conv) == []


def test_values_without_a_common_source_have_no_fork() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    graph = graph_of(Sum())
    assert graph.common_ancestor(operands(nodes(graph)["add"])) is None


def test_the_only_user(graph: ModuleGraph) -> None:
    _, conv, sigmoid, again, *_ = graph.nodes
    assert graph.only_user(conv) is None
    assert graph.only_user(sigmoid) is again
    assert graph.only_user(graph.output) is None


class Step(nn.Module):
    """One step of some form."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.step = step if isinstance(step, nn.Module) else None
        self.call = step

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


STEPS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "a method": (lambda x: x.add_(1), True),
    "a function": (lambda x: torch.relu_(x), True),
    "an argument": (lambda x: nn.functional.relu(x, inplace=True), True),
    "a module": (nn.ReLU(inplace=True), True),
    "a module in a module": (nn.ModuleDict({"act": nn.SiLU(inplace=True)}), True),
    "a fresh map": (lambda x: torch.relu(x), False),
    "a product": (lambda x: x * 2, False),
    "a special method": (lambda x: x.__add__(1), False),
    "a fresh module": (nn.ReLU(), False),
}


@pytest.mark.parametrize(("step", "expected"), STEPS.values(), ids=STEPS)
def test_what_may_overwrite_its_input(step: Callable[[Tensor], Tensor], expected: bool) -> None:
    graph = graph_of(Step(step))
    assert graph.mutates(graph.nodes[1]) == expected


def test_operators_that_overwrite_are_known_though_no_trace_of_today_records_them() -> None:
    made = torch.fx.Graph()
    x = made.placeholder("x")
    made.output(made.call_function(operator.iadd, (made.call_function(operator.add, (x, 1)), x)))
    graph = ModuleGraph(Container("", nn.Identity(), made))
    assert [graph.mutates(node) for node in graph.nodes] == [False, False, True, False]


def test_operands_are_the_first_two_nodes(graph: ModuleGraph) -> None:
    named = nodes(graph)
    assert operands(named["add"]) == [named["mul"], named["x"]]
    assert operands(named["relu"]) == [named["add"]]
