"""Forwards as graphs: what is a node, what is looked into, what cannot be traced."""

import pickle

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.surgery.arguments import Arguments
from senet.surgery.trace import Container, containers, only_chains, trace


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.drop = nn.Dropout()

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        self.seen = x
        y = F.dropout(self.drop(self.body(x)), training=self.training)
        return x + (y if scale is None else y * scale)


class Named(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in nn.Sequential
        return super().forward(input)


def called(module: nn.Module, **options: object) -> list[str]:
    graph, _ = trace(module, given={"scale": None}, **options)  # pyright: ignore[reportArgumentType]
    return [str(node.target) for node in graph.nodes if node.op == "call_module"]


def test_children_are_nodes_and_plain_sequentials_are_looked_into() -> None:
    unit = Unit()
    assert called(unit) == ["body.0", "body.1", "drop"]
    assert trace(unit, given={"scale": None})[1] == {unit.body}
    assert called(unit, opens=lambda module: False) == ["body", "drop"]


def test_only_what_does_nothing_else_chains() -> None:
    assert only_chains(nn.Sequential())
    assert not only_chains(Named())
    assert not only_chains(nn.ReLU())


def test_a_trace_leaves_the_module_as_it_was_and_sees_the_mode_it_is_told() -> None:
    unit = Unit()
    modes = []
    for training in (False, True):
        graph, _ = trace(unit, training=training, given={"scale": None})
        modes += [node.kwargs["training"] for node in graph.nodes if node.target is F.dropout]
    assert modes == [False, True]
    assert unit.training
    assert not hasattr(unit, "seen")


def test_inputs_have_the_names_of_the_arguments_also_where_these_are_fixed() -> None:
    class Options(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0, *, more: int = 2) -> Tensor:
            return x * scale + more

    graph, _ = trace(Options(), given={"mask": None, "more": 2})
    assert [node.target for node in graph.nodes if node.op == "placeholder"] == ["x", "mask", "scale", "more"]


def test_graphs_can_be_written_to_files() -> None:
    module = Named(nn.Conv2d(4, 4, 1), nn.ReLU())
    network = torch.fx.GraphModule(module, trace(module)[0])
    x = torch.randn(1, 4, 2, 2)
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), module(x))


def test_a_module_made_from_a_trace_gives_its_own_graph() -> None:
    class Made(nn.Module):
        def _senet_retrace(self, **options: object) -> object:
            return options

    given = {"x": 1}
    assert trace(Made(), training=True, given=given) == {"training": True, "given": given, "opens": only_chains}  # pyright: ignore[reportGeneralTypeIssues]


class Decides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = Decides()
        self.blocks = nn.Sequential(Unit(), Named(Unit()))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(x))


def test_containers_come_in_the_order_of_execution_with_reasons_for_the_rest() -> None:
    model = Network()
    x = torch.zeros(1, 4, 2, 2)
    order = [model, model.blocks, model.blocks[0], model.blocks[1], model.get_submodule("blocks.1.0"), model.last]
    calls = {module: Arguments((x,), {}) for module in order} | {model.get_submodule("blocks.1.0"): Arguments((x, 0.5), {})}
    found, failed = containers(model, calls)
    assert [(container.path, container.exact) for container in found] == [
        ("", True),
        ("blocks.0", True),
        ("blocks.1", True),
        ("blocks.1.0", True),
    ]
    assert list(failed) == ["last"]
    assert "symbolically traced variables cannot be used as inputs to control flow" in failed["last"]


def test_a_forward_that_depends_on_an_argument_is_traced_for_that_call() -> None:
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor, times: int) -> Tensor:
            for _ in range(times):
                x = self.conv(x)
            return x

    model = Repeats()
    (container,), failed = containers(model, {model: Arguments((torch.zeros(1, 4, 2, 2), 3), {})})
    assert failed == {}
    assert not container.exact
    assert sum(node.op == "call_module" for node in container.graph.nodes) == 3


def test_paths_are_joined_below_the_network_and_below_a_module() -> None:
    graph = torch.fx.Graph()
    assert Container("", nn.Identity(), graph).join("a.b") == "a.b"
    assert Container("x", nn.Identity(), graph).join("a") == "x.a"
    assert Container("x", nn.Identity(), graph).join("") == "x"
