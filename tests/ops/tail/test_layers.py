"""Layers in order: normalisations with a ReLU behind them are fused, and nothing else changes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from senet import ChannelSE, backend
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail import layers
from senet.ops.tail.layers import Layers, RecalibratedReLU, in_order


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Offer the passes in torch's operations; return the list of the normalisations that are asked to be fused."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))
    norms: list[nn.Module] = []
    activated_norm = layers.activated_norm

    def heard(x: Tensor, norm: Any, *relu: Any) -> Tensor:
        norms.append(norm)
        return activated_norm(x, norm, *relu)

    monkeypatch.setattr(layers, "activated_norm", heard)
    return norms


def chain() -> list[nn.Module]:
    """Return layers with BN before a ReLU, before a gated ReLU, before another layer, before BN, and at the end."""
    first = (nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), RecalibratedReLU(ChannelSE(8, 2)))
    return [*first, nn.ReLU(), nn.BatchNorm2d(8), nn.AvgPool2d(2), nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.ReLU6(), nn.BatchNorm2d(8)]


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
def test_values_and_gradients_are_those_of_a_sequential(fused: list[nn.Module], training: bool) -> None:
    torch.manual_seed(0)
    ours = Layers(*chain()).double().train(training)
    theirs = nn.Sequential(*copy.deepcopy(list(ours)))
    x = torch.randn(3, 8, 7, 6, dtype=torch.float64)
    with backend("torch"):
        y = ours(x)
    want = theirs(x)
    assert fused == [ours[1], ours[4]]
    (y * y.detach().cos()).sum().backward()
    (want * want.detach().cos()).sum().backward()
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-11, msg=name)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12, msg=name)


def test_every_hook_is_heard(fused: list[nn.Module]) -> None:
    x, row = torch.randn(2, 8, 7, 6), chain()
    for module in row:
        heard: list[nn.Module] = []
        handle = module.register_forward_hook(lambda module, given, result, heard=heard: heard.append(module))
        with backend("torch"):
            in_order(row, x)
        handle.remove()
        assert heard == [module]


def test_a_trace_shows_every_layer() -> None:
    row = Layers(*chain())

    class Leaves(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return m is not row

    assert [node.target for node in Leaves().trace(row).nodes if node.op == "call_module"] == [str(i) for i in range(len(row))]


def test_no_layers_change_nothing() -> None:
    x = torch.randn(1, 2, 3, 3)
    assert in_order([], x) is x
