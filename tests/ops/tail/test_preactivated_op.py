"""The fused pre-activation tail under torch.compile: one graph, torch's rules for operators, and the numbers of the eager form."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.passes import LAYOUTS
from senet import ChannelSE, backend, create_model
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels, TorchPairKernels
from senet.ops.tail.batchnorm import as_data
from senet.ops.tail.call import preactivated_tail
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.form import Form, tensors_of

OPERATOR = "senet.preactivated_tail"


class Passes(TorchKernels, TorchPairKernels):
    """All passes in torch's operations, so that no C++ compiler is needed."""


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (Passes(), ""))
    torch.compiler.reset()


class Unit(nn.Module):
    """Parts of a pre-activation tail."""

    def __init__(self, gate: str | None, *, bias: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.se = None if gate is None else ChannelSE(8, 2, gate=gate, bias=bias)  # pyright: ignore[reportArgumentType]

    def forward(self, u: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        return preactivated_tail(u, r, recalibrate=self.se, norm=self.norm)


class Graphs:
    """Compiler that does what "aot_eager" does, and the names of what its graphs call."""

    def __init__(self) -> None:
        self.operators: list[str] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        self.operators += [str(node.target) for node in graph.graph.nodes]
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


def results(run: Callable[..., Any], unit: nn.Module, layout: torch.memory_format, used: str) -> list[Tensor]:
    """Return outputs, gradients and running statistics of a step in which one output, or both, count."""
    generator = torch.Generator().manual_seed(0)
    u, r, dv, da = (torch.randn(3, 8, 5, 4, generator=generator).to(memory_format=layout).requires_grad_(i < 2) for i in range(4))
    v, a = run(u, r)
    {"both": (v * dv).sum() + (a * da).sum(), "sum": (v * dv).sum(), "activated": (a * da).sum()}[used].backward()
    gradients = [torch.zeros(()) if p.grad is None else p.grad for p in (u, r, *unit.parameters())]
    return [v.detach(), a.detach(), *gradients, *unit.buffers()]


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("used", ["both", "sum", "activated"])
def test_one_graph_with_the_numbers_of_the_eager_form(used: str, layout: str, *, training: bool) -> None:
    unit = Unit("sigmoid", bias=used != "sum").train(training)
    twin, graphs = copy.deepcopy(unit), Graphs()
    with backend("torch"):
        want = results(unit, unit, LAYOUTS[layout], used)
        got = results(torch.compile(twin, backend=graphs, fullgraph=True), twin, LAYOUTS[layout], used)
    assert graphs.operators.count(OPERATOR) == 1
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert one.stride() == other.stride()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_keeps_the_rules_for_operators(layout: str, *, training: bool) -> None:
    torch.manual_seed(0)
    unit = Unit("hard_sigmoid").double().train(training)
    maps = [torch.randn(2, 8, 3, 5).double().contiguous(memory_format=LAYOUTS[layout]).requires_grad_() for _ in range(2)]
    tail = ChannelTail(as_data(unit.norm, maps[0]), unit.get_submodule("se").tail_gates(1.0).channels, None, relu=True)  # pyright: ignore
    operands = (*maps, *tensors_of(tail).row(), *Form.of(tail).arguments(), "torch")
    torch.library.opcheck(torch.ops.senet.preactivated_tail, operands)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("gate", ["sigmoid", None])
def test_compilers_fuse_what_has_no_block_or_no_gradient(gate: str | None, *, gradients: bool) -> None:
    graphs = Graphs()
    x = torch.randn(8, 8, 48, 48)
    with torch.set_grad_enabled(gradients):
        torch.compile(Unit(gate), backend=graphs, fullgraph=True)(x, x)
    assert graphs.operators.count(OPERATOR) == (gradients and gate is not None)


def test_networks_hold_one_a_unit() -> None:
    graphs, network = Graphs(), create_model("se_preresnet20")
    with backend("torch"):
        torch.compile(network, backend=graphs, fullgraph=True)(torch.randn(2, 3, 16, 16))
    assert graphs.operators.count(OPERATOR) == 9
