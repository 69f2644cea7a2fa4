"""What the maps of a forward go through: gates, scales, normalisations, what reads them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.surgery.flow import Flow
from senet.surgery.probe import probe
from senet.surgery.trace import Container, trace


class Forward(nn.Module):
    """Layers to choose from, and one way through them."""

    def __init__(self, way: Callable[["Forward", Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.other, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3)
        self.norm, self.relu, self.drop, self.up = nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Upsample(scale_factor=2)
        self.fused = nn.Sequential(nn.ReLU())
        self.gain = nn.Parameter(torch.ones(4, 1, 1))
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def flow_of(way: Callable[[Forward, Tensor], Tensor]) -> Flow:
    module = Forward(way)
    return Flow(Container("", module, trace(module)[0]))


def gate(m: Forward, x: Tensor) -> Tensor:
    return torch.sigmoid(m.conv(x.mean((2, 3), keepdim=True)))


GATES: dict[str, tuple[Callable[[Forward, Tensor], Tensor], bool]] = {
    "squeeze and excitation": (lambda m, x: x * gate(m, x), True),
    "the gate first": (lambda m, x: gate(m, x) * x, True),
    "reshaped": (lambda m, x: x * gate(m, x).view(-1, 4, 1, 1).expand_as(x), True),
    "without a layer": (lambda m, x: x * torch.sigmoid(x), False),
    "unbounded": (lambda m, x: x * m.conv(x), False),
    "of another map": (lambda m, x: m.other(x) * torch.sigmoid(m.conv(x)), False),
    "a sum": (lambda m, x: x + gate(m, x), False),
}


@pytest.mark.parametrize(("way", "expected"), GATES.values(), ids=GATES)
def test_what_recalibrates_its_input(way: Callable[[Forward, Tensor], Tensor], expected: bool) -> None:
    assert flow_of(way).is_gate == expected


def test_a_gate_inside_names_its_product_and_its_map() -> None:
    flow = flow_of(lambda m, x: m.other((u := m.conv(x)) * torch.sigmoid(m.wide(u))))
    assert not flow.is_gate
    assert [(product.name, gated.name) for product, gated in flow.gates] == [("mul", "conv")]


RUNS: dict[str, tuple[Callable[[Forward, Tensor], Tensor], list[str]]] = {
    "all three": (lambda m, x: m.relu(m.norm(m.conv(x))), ["conv", "norm", "relu"]),
    "a function": (lambda m, x: F.relu(m.norm(m.conv(x))), ["conv", "norm", "relu"]),
    "dropout between": (lambda m, x: m.relu(m.drop(m.norm(m.conv(x)))), ["conv", "norm", "relu"]),
    "no norm": (lambda m, x: m.relu(m.conv(x)), ["conv", "relu"]),
    "the other order": (lambda m, x: m.norm(m.relu(m.conv(x))), ["conv", "relu"]),
    "used twice": (lambda m, x: m.norm(u := m.conv(x)) + u, ["conv"]),
    "asked for its size": (lambda m, x: m.norm(u := m.conv(x)).view(u.size(0), -1), ["conv", "norm"]),
}


@pytest.mark.parametrize(("way", "expected"), RUNS.values(), ids=RUNS)
def test_convolution_norm_activation(way: Callable[[Forward, Tensor], Tensor], expected: list[str]) -> None:
    flow = flow_of(way)
    assert [node.name for node in flow.conv_norm_act(flow.nodes[1])] == expected


def test_the_way_back_goes_over_what_only_scales_drops_or_permutes() -> None:
    flow = flow_of(lambda m, x: m.conv(x).permute(0, 2, 3, 1).mul(2).permute(0, 3, 1, 2) * m.gain + x)
    *_, total, _ = flow.nodes
    branch = total.all_input_nodes[0]
    steps = flow.trace_back(branch, total)
    assert [step.node.name for step in steps] == ["conv", "permute", "mul", "permute_1", "mul_1"]
    assert [step.user.name for step in steps] == ["permute", "mul", "permute_1", "mul_1", "add"]
    assert flow.source(branch).name == "conv"
    assert [step.node.name for step in flow.trace_back(branch, total, stop=steps[3].node)] == ["permute_1", "mul_1"]


def test_layers_are_counted_without_those_of_gates() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ModuleDict({"fc": nn.Linear(4, 4)}))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = module[0], module[1]

        def forward(self, x: Tensor) -> Tensor:
            return self.gate(self.conv(x))

    outer = Outer()
    container = Container("", outer, trace(outer)[0])
    assert Flow(container).layers(Flow(container).nodes) == 2
    assert Flow(container, gates={outer.gate}).layers(Flow(container).nodes) == 1


def test_functions_enlarge_by_name_or_as_a_run_shows() -> None:
    flow = flow_of(lambda m, x: m.up(F.interpolate(m.conv(x), scale_factor=2)) + F.interpolate(m.wide(x), scale_factor=0.5))
    by_name = {node.name: flow.upsamples([node]) for node in flow.nodes}
    assert {name for name, enlarges in by_name.items() if enlarges} == {"interpolate", "interpolate_1"}
    small = flow_of(lambda m, x: m.up(F.interpolate(m.conv(x), scale_factor=2)) * F.interpolate(m.conv(x), scale_factor=0.25).mean())
    seen = probe(small.container.module, torch.zeros(1, 4, 8, 8))
    seen_flow = Flow(small.container, seen=seen)
    assert {node.name for node in seen_flow.nodes if seen_flow.upsamples([node])} == {"interpolate", "up"}
