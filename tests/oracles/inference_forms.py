"""Optimised units computed by Triton's kernels, in a process of its interpreter: how exact, and by which launches."""

from typing import Any

import pytest
import torch
from torch import nn

import senet
from oracles.optimized import distance, network
from oracles.weights import draw
from senet.deploy.optimize import optimize
from senet.ops.backend import BEST


def unit(name: str, path: str) -> nn.Module:
    """Return a unit of a network in float64."""
    return network(name).get_submodule(path).double()


def computed(module: nn.Module, shape: tuple[int, ...], *, compiled: bool, layout: torch.memory_format) -> tuple[float, list[str]]:
    """Return how far the optimised unit is from the unit, and the names of the kernels that it launched."""
    from senet.ops.passes.triton import launch

    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout)
    form: Any = optimize(module)
    if compiled:
        form = torch.compile(form, backend="aot_eager", fullgraph=True)
    before, names = launch.start, []

    def start(kernel: Any, *arguments: Any) -> None:
        names.append(kernel.__name__)
        before(kernel, *arguments)

    with torch.no_grad():
        want = module(x.clone())
        launch.start = start  # pyright: ignore[reportAttributeAccessIssue]
        try:
            with senet.backend("triton"):
                found = form(x.clone())
        finally:
            launch.start = before
    return distance(found, want), names


def by_name(name: str, path: str, shape: tuple[int, ...], *, compiled: bool, layout: torch.memory_format) -> tuple[float, list[str]]:
    """Do what `computed` does for a unit of a network."""
    return computed(unit(name, path), shape, compiled=compiled, layout=layout)


class Lean(nn.Module):
    """Convolution, ReLU and a block behind it, whose map nobody else holds, or the module's own input as well."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        self.conv, self.se = nn.Conv2d(6, 10, 3), senet.ChannelSE(10, 2)
        self.alone = alone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rescaled map, plus itself unless it is alone."""
        y = torch.relu(self.conv(x))
        return self.se(y) if self.alone else self.se(y) + y


def lean(alone: bool, compiled: bool) -> tuple[float, list[str]]:
    """Do what `computed` does for a block that no convolution is before."""
    torch.manual_seed(1)
    module = Lean(alone=alone).double().eval().requires_grad_(False)
    return computed(module, (2, 6, 5, 7), compiled=compiled, layout=torch.channels_last)


class Interrupted(nn.Module):
    """Bottleneck with modules between its parts that do nothing in evaluation, and a projection whose map others may see too."""

    def __init__(self, *, seen: bool) -> None:
        super().__init__()
        self.conv2, self.conv3, self.project = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 24, 1), nn.Conv2d(6, 24, 1)
        self.bn2, self.bn3, self.norm = nn.BatchNorm2d(6), nn.BatchNorm2d(24), nn.BatchNorm2d(24)
        self.drop, self.none, self.se = nn.Dropout(), nn.Identity(), senet.ChannelSE(24, 4)
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the unit's output, with the projection once more if that is seen."""
        inner = self.none(self.drop(torch.relu(self.bn2(self.conv2(x)))))
        r = self.norm(self.project(x))
        y = torch.relu(self.none(self.se(self.bn3(self.conv3(inner)))) + r)
        return y + r + inner.mean(1, keepdim=True) if self.seen else y


def interrupted(seen: bool) -> tuple[float, list[str]]:
    """Do what `computed` does for such a bottleneck."""
    torch.manual_seed(1)
    module = draw(Interrupted(seen=seen), last="bn3$", projection="norm").double().eval().requires_grad_(False)
    return computed(module, (2, 6, 5, 4), compiled=False, layout=torch.channels_last)


def shortcut_to_broadcast() -> float:
    """Return how far a gated unit with a shortcut of one value a channel is from its definition."""
    from senet.deploy.layers import FusedConv2d

    torch.manual_seed(2)
    conv, se = nn.Conv2d(4, 16, 1).double(), senet.ChannelSE(16, 2).double()
    x, shortcut = torch.randn(2, 4, 6, 5, dtype=torch.float64), torch.randn(2, 16, 1, 1, dtype=torch.float64)
    fused = FusedConv2d(conv, conv.weight.detach(), conv.bias, se=se, gain=0.5, relu=True)
    bias = torch.randn(16, dtype=torch.float64)
    with torch.no_grad(), senet.backend("triton"):
        return distance(fused(x, shortcut, None, bias), torch.relu(0.5 * se(conv(x)) + shortcut + bias[:, None, None]))


def gradient_of_the_image() -> float:
    """Return how far the gradient of the image through an optimised unit is from the unit's."""
    module, found = unit("se_resnet18", "layer1.0"), []
    form = optimize(module)
    with senet.backend("triton"):
        for net in (form, torch.compile(form, backend="aot_eager"), module):
            torch.manual_seed(3)
            x = torch.randn(1, 64, 4, 4, dtype=torch.float64, requires_grad=True)
            net(x).square().sum().backward()
            found.append(x.grad)
    return max(distance(found[0], found[2]), distance(found[1], found[2]))


def operators_seen() -> list[tuple[str, ...]]:
    """Return the package's operators in what torch.compile sees of a unit where kernels of inference are the best, and in its export."""
    seen = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        seen.append(graph)
        return graph.forward

    form, x = optimize(unit("se_resnet50", "layer1.0")), torch.randn(2, 64, 3, 3, dtype=torch.float64)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(BEST, "cpu", "triton")
        torch.compile(form, backend=backend, fullgraph=True)(x)
        seen.append(torch.export.export(form, (x,)).graph_module)
    targets = ([str(node.target) for node in graph.graph.nodes] for graph in seen)
    return [tuple(name for name in names if "senet" in name) for names in targets]
