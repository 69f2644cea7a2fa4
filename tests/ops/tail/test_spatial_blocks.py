"""sSE and scSE behind a BN, in residual units and under torch.compile: the fused tail by its module equals the definition."""

import copy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from oracles.passes import LAYOUTS
from senet import ChannelSpatialSE, Gated, SpatialSE, backend, create_model
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.call import residual_tail
from senet.ops.tail.fusible import TailModules, takes

FUSED = ("torch", "cpp")
BLOCKS = {"sse": SpatialSE, "scse": ChannelSpatialSE}


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the passes in torch's operations without torch.compile, which takes seconds a shape."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))
    torch.compiler.reset()


class Unit(nn.Module):
    """Parts of a tail in float64."""

    def __init__(self, block: str, *, projection: bool, training: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(9)
        self.shortcut_norm = nn.BatchNorm2d(9) if projection else None
        self.se = BLOCKS[block](9)
        for p in self.parameters():
            nn.init.normal_(p)
        self.double().train(training)

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        """Join both."""
        return residual_tail(x, r, norm=self.norm, shortcut_norm=self.shortcut_norm, recalibrate=self.se)


def step(run: nn.Module, unit: nn.Module, layout: str = "NCHW") -> dict[str, Tensor]:
    """Return output, gradients and running statistics."""
    generator = torch.Generator().manual_seed(1)
    made = (torch.randn(3, 9, 5, 4, generator=generator, dtype=torch.float64).to(memory_format=LAYOUTS[layout]) for _ in range(3))
    x, r, dy = made
    x.requires_grad_()
    r.requires_grad_()
    y = run(x, r)
    y.backward(dy)
    found = {
        "y": y.detach(),
        "x": x.grad,
        "r": r.grad,
        **{name: p.grad for name, p in unit.named_parameters()},
        **dict(unit.named_buffers()),
    }
    assert all(value is not None for value in found.values())
    return {key: value.clone() for key, value in found.items() if value is not None}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("block", BLOCKS)
def test_equal_the_definition(name: str, block: str) -> None:
    for layout, projection, training in product(LAYOUTS, (True, False), (True, False)):
        unit = Unit(block, projection=projection, training=training)
        found = []
        for which in ("reference", name):
            own = copy.deepcopy(unit)
            with backend(which):
                found.append(step(own, own, layout))
        for key, value in found[0].items():
            torch.testing.assert_close(found[1][key], value, rtol=1e-11, atol=1e-11, msg=key)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", BLOCKS)
def test_one_graph_with_the_same_bits(block: str, layout: str) -> None:
    unit = Unit(block, projection=True)
    twin = copy.deepcopy(unit)
    with backend("torch"):
        want = step(unit, unit, layout)
        got = step(torch.compile(twin, backend="aot_eager", fullgraph=True), twin, layout)  # pyright: ignore[reportArgumentType]
    assert all(torch.equal(got[key], value) for key, value in want.items())


@pytest.mark.parametrize("block", ["sse", "scse"])
def test_networks_run_it(block: str) -> None:
    torch.manual_seed(0)
    network = create_model(f"{block}_cifar_resnet20").double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    outputs = []
    for which in ("reference", "torch"):
        with backend(which):
            outputs.append(copy.deepcopy(network)(x))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-9, atol=1e-10)


def test_what_it_does_not_take() -> None:
    x, norm = torch.randn(2, 8, 3, 3), nn.BatchNorm2d(8)
    assert takes(x, x, TailModules(norm, recalibrate=SpatialSE(8)))
    assert takes(x, x, TailModules(norm, recalibrate=ChannelSpatialSE(8)))
    for combine in ("max", "multiply", "concat"):
        assert not takes(x, x, TailModules(norm, recalibrate=ChannelSpatialSE(8, combine=combine)))
    assert not takes(x, x, TailModules(norm, recalibrate=SpatialSE(8), gain=2.0))


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_wrapped_norms(gain: float) -> None:
    torch.manual_seed(0)
    wrapped = Gated(nn.BatchNorm2d(8), SpatialSE(8), gain=gain).double()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    with backend("torch"):
        got = copy.deepcopy(wrapped)(x)
    with backend("reference"):
        want = wrapped(x)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
