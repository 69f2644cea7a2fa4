"""The fused tail under torch.compile: one graph, torch's rules for operators, and the numbers of the eager form."""

import copy
from collections.abc import Callable

import pytest
import torch
from functorch.compile import make_boxed_compiler
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode

from oracles.passes import LAYOUTS
from oracles.tail_passes import Case, lively, operands
from senet import ChannelSE, Gated, backend, create_model
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.call import residual_tail

FORMS = {
    "identity": (False, "sigmoid", True),
    "projection": (True, "tanh", True),
    "no ReLU": (False, "sigmoid", False),
    "projection, no ReLU": (True, "sigmoid", False),
    "plain": (False, None, True),
}
"""Name -> projection, gate, ReLU."""


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the passes in torch's operations, so that no C++ compiler is needed."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))
    torch.compiler.reset()


class Unit(nn.Module):
    """Parts of a tail."""

    def __init__(self, projection: bool, gate: str | None, relu: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.shortcut_norm = nn.BatchNorm2d(8) if projection else None
        self.se = None if gate is None else ChannelSE(8, 2, gate=gate)  # pyright: ignore[reportArgumentType]
        self.relu = relu

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        """Join both."""
        return residual_tail(x, r, norm=self.norm, shortcut_norm=self.shortcut_norm, recalibrate=self.se, relu=self.relu)


def results(run: Callable[..., Tensor], unit: nn.Module, layout: torch.memory_format) -> list[Tensor]:
    """Return output, gradients and running statistics of a step, which is the same for all runs."""
    generator = torch.Generator().manual_seed(0)
    x, r, dy = (torch.randn(3, 8, 5, 4, generator=generator).to(memory_format=layout).requires_grad_(i < 2) for i in range(3))
    y = run(x, r)
    y.backward(dy)
    return [y.detach(), x.grad, r.grad, *(p.grad for p in unit.parameters()), *unit.buffers()]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
def test_one_graph_with_the_same_bits(form: str, layout: str, training: bool) -> None:
    unit = Unit(*FORMS[form]).train(training)
    twin = copy.deepcopy(unit)
    graphs = Graphs()
    with backend("torch"):
        want = results(unit, unit, LAYOUTS[layout])
        got = results(torch.compile(twin, backend=graphs, fullgraph=True), twin, LAYOUTS[layout])
    assert graphs.operators.count("senet.tail") == 1
    assert all(torch.equal(one, other) and one.stride() == other.stride() for one, other in zip(got, want, strict=True))


class Graphs:
    """Compiler that does what "aot_eager" does, and the names of what its graphs call."""

    def __init__(self) -> None:
        self.operators: list[str] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        self.operators += [str(node.target) for node in graph.graph.nodes]
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "case",
    [
        Case("batch", None, "sigmoid", True),
        Case("batch", "batch", "hard_sigmoid", True),
        Case("running", "running", "sigmoid", False),
        Case(None, None, "sigmoid", False),
        Case("batch", None, None, True),
    ],
    ids=str,
)
def test_keeps_the_rules_for_operators(case: Case, layout: str) -> None:
    torch.manual_seed(0)
    maps = [v.contiguous(memory_format=LAYOUTS[layout]) for v in case.maps(2)]
    torch.library.opcheck(torch.ops.senet.tail, operands(lively(case), maps, "torch"))


def test_a_compiler_without_gradients_sees_the_definition() -> None:
    graphs = Graphs()
    x = torch.randn(8, 8, 48, 48)
    unit = Unit(*FORMS["identity"]).eval()
    with torch.no_grad():
        torch.compile(unit, backend=graphs, fullgraph=True)(x, x)
    assert graphs.operators
    assert "senet.tail" not in graphs.operators


def test_a_compiler_sees_the_definition_of_norms_over_processes() -> None:
    graphs = Graphs()
    x = torch.randn(2, 8, 5, 4)
    unit = Unit(*FORMS["identity"])
    unit.norm = nn.SyncBatchNorm(8)
    with backend("torch"):
        torch.compile(unit.eval(), backend=graphs)(x, x)
    assert graphs.operators
    assert "senet.tail" not in graphs.operators


def test_another_backend_is_compiled_anew() -> None:
    graphs = Graphs()
    x = torch.randn(2, 8, 5, 4)
    run = torch.compile(Unit(*FORMS["identity"]).eval(), backend=graphs, fullgraph=True)
    for name, calls in (("reference", 0), ("torch", 1), ("reference", 1), ("torch", 1)):
        with backend(name):
            run(x, x)
        assert graphs.operators.count("senet.tail") == calls
    run(x, x)  # of small maps, and nothing is asked for
    assert graphs.operators.count("senet.tail") == 1


@pytest.mark.parametrize("strict", [True, False])
def on_a_gpu(model: nn.Module) -> None:
    """Move a model to a GPU that is not there: its tensors have no data."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, v in held.items():
                if v is not None:
                    moved = torch.empty(v.shape, dtype=v.dtype, device="cuda")
                    held[name] = nn.Parameter(moved) if isinstance(v, nn.Parameter) else moved


def operators_on_a_gpu(name: str) -> list[str]:
    """Return what the one graph of a network's forward pass calls on a GPU."""
    graphs: list[str] = []

    def record(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    model = create_model(name)
    with FakeTensorMode():
        on_a_gpu(model)
        y = torch.compile(model, backend=record, fullgraph=True)(torch.empty(2, 3, 32, 32, device="cuda"))
        assert y.device.type == "cuda"
    return graphs


class TestOnAGpuThatIsNotThere:
    @pytest.mark.parametrize(("name", "units"), [("se_cifar_resnet20", 9), ("cifar_resnet20", 9)])
    def test_networks_hold_it_whatever_the_size_of_their_maps(self, monkeypatch: pytest.MonkeyPatch, name: str, units: int) -> None:
        monkeypatch.setitem(backends.BUILDERS, "triton", lambda device: (TorchKernels(), ""))
        assert operators_on_a_gpu(name).count("senet.tail") >= units

    def test_without_gradients_the_compiler_fuses_the_definition(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(backends.BUILDERS, "triton", lambda device: (TorchKernels(), ""))
        with torch.no_grad():
            assert "senet.tail" not in operators_on_a_gpu("se_cifar_resnet20")

    def test_where_no_backend_runs_they_hold_the_definition(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(backends.BUILDERS, "triton", lambda device: (None, "the device of this test is too old"))
        with pytest.warns(RuntimeWarning, match="without its triton operators: the device of this test is too old"):
            assert "senet.tail" not in operators_on_a_gpu("se_cifar_resnet20")


def test_the_backward_graph_holds_its_own() -> None:
    forward, backward = [], []

    def record(to: list[str]) -> Callable[..., object]:
        return make_boxed_compiler(lambda graph, inputs: to.extend(str(node.target) for node in graph.graph.nodes) or graph.forward)

    network = create_model("se_cifar_resnet20")
    compiler = aot_autograd(fw_compiler=record(forward), bw_compiler=record(backward))
    with backend("torch"):
        torch.compile(network, backend=compiler, fullgraph=True)(torch.randn(2, 3, 8, 8)).sum().backward()
    assert forward.count("senet.tail.default") == backward.count("senet.tail_backward.default") >= 9
    asked = {"aten._local_scalar_dense.default", "aten.item.default", "aten.nonzero.default"}
    assert not asked & {*forward, *backward}, "the device is asked for something"


@pytest.mark.parametrize("strict", [True, False])
def test_exported_programs_hold_the_definition(strict: bool) -> None:
    x = torch.randn(8, 8, 48, 48)
    with backend("torch"):
        program = torch.export.export(Unit(*FORMS["identity"]).eval(), (x, x), strict=strict)
    assert not any("senet" in str(node.target) for node in program.graph.nodes)


def test_networks_compile_to_one_graph() -> None:
    torch.manual_seed(0)
    network = create_model("se_cifar_resnet20").train()
    twin = copy.deepcopy(network)
    x = torch.randn(2, 3, 8, 8)
    with backend("torch"):
        want = network(x)
        got = torch.compile(twin, backend="aot_eager", fullgraph=True)(x)
        for out in (want, got):
            out.square().sum().backward()
    assert torch.equal(got, want)
    for one, other in zip(twin.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_inserted_blocks_compile_with_their_norm() -> None:
    torch.manual_seed(0)
    host = Gated(nn.BatchNorm2d(8), ChannelSE(8, 2), gain=2.0)
    graphs = Graphs()
    x = torch.randn(2, 8, 5, 4)
    with backend("torch"):
        want = copy.deepcopy(host)(x)
        got = torch.compile(host, backend=graphs, fullgraph=True)(x)
    assert "senet.tail" in graphs.operators
    assert torch.equal(got, want)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["identity", "projection"])
def test_inductor(form: str) -> None:
    unit = Unit(*FORMS[form])
    twin = copy.deepcopy(unit)
    with backend("cpp"):
        want = results(unit, unit, torch.channels_last)
        got = results(torch.compile(twin, fullgraph=True), twin, torch.channels_last)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_batched_functions_see_the_definition() -> None:
    unit = Unit(*FORMS["identity"]).eval()
    x = torch.randn(3, 4, 8, 48, 48)

    def joined(v: Tensor) -> Tensor:
        return unit(v, v)

    want = torch.vmap(joined)(x)
    assert torch.equal(torch.compile(torch.vmap(joined), backend="aot_eager")(x), want)
