"""A normalisation and its ReLU in one operator: the definition's values and gradients, and whatever listens is heard."""

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from oracles.passes import LAYOUTS
from senet import backend
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail import call
from senet.ops.tail.call import activated_norm

SHAPES = [(3, 8, 5, 4), (1, 16, 7, 3), (2, 5, 1, 1), (2, 33, 9, 11)]
FUSED = ("torch", "cpp")


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the passes in torch's operations without torch.compile, which takes seconds a shape."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))


def lively(channels: int, *, training: bool = True, affine: bool = True, dtype: torch.dtype = torch.float64) -> nn.BatchNorm2d:
    """Return a normalisation with drawn parameters and statistics."""
    norm = nn.BatchNorm2d(channels, affine=affine).to(dtype).train(training)
    if affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias)
    for buffer, draw in ((norm.running_mean, nn.init.normal_), (norm.running_var, nn.init.uniform_)):
        assert buffer is not None
        draw(buffer).add_(0.1 if draw is nn.init.uniform_ else 0)
    return norm


def run(name: str, norm: nn.BatchNorm2d, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """Give everything that one backend computes: output, gradients, running statistics."""
    own, x = copy.deepcopy(norm), x.clone().requires_grad_()
    with backend(name):
        y = activated_norm(x, own)
    assert ("TailFunction" in str(y.grad_fn)) == (name != "reference")
    y.backward(dy)
    gradients: dict[str, Any] = {"x": x.grad, **{f"d{key}": p.grad for key, p in own.named_parameters()}}
    return {"y": y.detach(), **gradients, **dict(own.named_buffers())}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_definition(shape: tuple[int, int, int, int], name: str) -> None:
    for layout, training, affine in product(LAYOUTS.values(), (True, False), (True, False)):
        torch.manual_seed(0)
        norm = lively(shape[1], training=training, affine=affine)
        x, dy = (torch.randn(shape, dtype=torch.float64).to(memory_format=layout) for _ in range(2))
        want, got = (run(which, norm, x, dy) for which in ("reference", name))
        errors = {key: float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items()}
        assert max(errors.values()) < 1e-12, (layout, training, affine, errors)
        assert got["y"].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_are_judged_by_float64(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = lively(32, dtype=torch.float32)
    x, dy = (torch.randn(4, 32, 12, 12).to(dtype) for _ in range(2))
    want, got = run("reference", copy.deepcopy(norm).double(), x.double(), dy.double()), run(name, norm, x, dy)
    open_ = (got["y"] > 0) == (want["y"] > 0)
    limit = {torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype]
    for key in ("y", "x", "dweight", "dbias"):
        mask = open_ if want[key].ndim == 4 else 1
        error = float(((got[key].double() - want[key]) * mask).norm() / want[key].norm())
        assert error < limit, (key, error)
    assert got["y"].dtype == got["x"].dtype == dtype


@pytest.mark.parametrize("name", FUSED)
def test_keeps_its_input_and_its_output(name: str) -> None:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(2, 8, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), backend(name):
        y = activated_norm(x, nn.BatchNorm2d(8))
    maps = [v for v in kept if v.ndim == 4]
    assert {v.data_ptr() for v in maps} == {x.data_ptr(), y.data_ptr()}
    assert len(maps) == 2


def test_layers_with_hooks_are_called() -> None:
    x, norm, relu, heard = torch.randn(2, 8, 3, 3), nn.BatchNorm2d(8), nn.ReLU(), []
    with backend("torch"):
        for module in (norm, relu):
            handle = module.register_forward_hook(lambda module, *_: heard.append(module))
            activated_norm(x, norm, relu)
            handle.remove()
    assert heard == [norm, relu]


@pytest.mark.parametrize("relu", [nn.ReLU6(), nn.SiLU(), torch.tanh], ids=["relu6", "silu", "tanh"])
def test_another_non_linearity_is_kept(relu: Any) -> None:
    x, norm = 9 * torch.randn(2, 8, 3, 3), nn.BatchNorm2d(8).eval()
    with backend("torch"):
        assert torch.equal(activated_norm(x, norm, relu), relu(norm(x)))


def test_a_trace_shows_both_layers() -> None:
    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return activated_norm(activated_norm(x, self.bn, self.relu), self.bn)

    with backend("torch"):
        graph = fx.symbolic_trace(Unit()).graph
    assert [node.target for node in graph.nodes if node.op.startswith("call")] == ["bn", "relu", "bn", torch.relu]


def test_maps_are_left_alone_by_a_relu_in_place() -> None:
    x = torch.randn(2, 8, 3, 3)
    before = x.clone()
    with backend("torch"):
        activated_norm(x, nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    assert torch.equal(x, before)


def test_compilers_fuse_it_themselves_unless_a_backend_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(call, "_fused", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x, norm = torch.randn(2, 8, 3, 3), nn.BatchNorm2d(8)
    activated_norm(x, norm)
    assert not asked
    with backend("torch"):
        activated_norm(x, norm)
    assert len(asked) == 1
