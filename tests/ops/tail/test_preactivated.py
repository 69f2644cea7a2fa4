"""The tail of a pre-activation unit with the next unit's BN and ReLU equals the definition: values, gradients, running statistics."""

import copy
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from oracles.passes import LAYOUTS
from oracles.threads import same_bits
from senet import ChannelSE, backend, create_model
from senet.ops import backend as backends
from senet.ops.passes.cpp.build import kernels
from senet.ops.passes.protocol import PairKernels
from senet.ops.passes.terms import PairGradient
from senet.ops.passes.torch import TorchKernels, TorchPairKernels
from senet.ops.tail.call import preactivated_tail

SHAPES = [(3, 8, 5, 4), (1, 16, 7, 3), (2, 5, 1, 1), (2, 33, 9, 11), (2, 520, 3, 3)]
FUSED = ("torch", "cpp")
"""Backends that are held to the definition."""


class TorchPasses(TorchKernels, TorchPairKernels):
    """All passes in torch's operations."""


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the passes in torch's operations without torch.compile, which takes seconds a shape."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchPasses(), ""))


@pytest.fixture(scope="module")
def passes() -> PairKernels:
    """Return the passes in C++."""
    found, reason = kernels()
    if found is None:
        pytest.skip(f"no C++ operators: {reason}")
    return found


def parts(channels: int, gate: str = "sigmoid", dtype: torch.dtype = torch.float64) -> tuple[nn.BatchNorm2d, ChannelSE | None]:
    """Return a lively norm and block, none if the gate is "none"."""
    torch.manual_seed(0)
    norm, block = nn.BatchNorm2d(channels).to(dtype), ChannelSE(channels, 2, gate="sigmoid" if gate == "none" else gate).to(dtype)  # pyright: ignore[reportArgumentType]
    for tensor in (*norm.parameters(), block.fc1.bias, block.fc2.bias, norm.get_buffer("running_mean")):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.get_buffer("running_var"), 0.5, 1.5)
    return norm, None if gate == "none" else block


def run(
    name: str, modules: tuple[nn.BatchNorm2d, ChannelSE | None], u: Tensor, r: Tensor, dv: Tensor | None, da: Tensor
) -> dict[str, Tensor]:
    """Return everything that one backend computes."""
    norm, block = copy.deepcopy(modules)
    u, r = u.clone().requires_grad_(), r.clone().requires_grad_()
    with backend(name):
        v, a = preactivated_tail(u, r, recalibrate=block, norm=norm)
    torch.autograd.backward((a,) if dv is None else (a, v), (da,) if dv is None else (da, dv))
    found = {"v": v, "a": a, "du": u.grad, "dr": r.grad, **dict(norm.named_buffers())}
    found |= {
        f"{key} of {type(module).__name__}": p.grad
        for module in (norm, block)
        if module is not None
        for key, p in module.named_parameters()
    }
    return {key: value.detach() for key, value in found.items() if value is not None}


def worst(got: dict[str, Tensor], want: dict[str, Tensor]) -> float:
    """Return the largest error, as a share of the largest value or of 1."""
    assert got.keys() == want.keys()
    return max(float((got[key] - value).abs().max()) / max(1.0, float(value.abs().max())) for key, value in want.items())


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_definition(name: str, shape: tuple[int, ...]) -> None:
    for gate, layout, training, with_dv in product(("sigmoid", "none"), LAYOUTS.values(), (True, False), (True, False)):
        modules = parts(shape[1], gate)
        modules[0].train(training)
        u, r, dv, da = (torch.randn(shape, dtype=torch.float64).to(memory_format=layout) for _ in range(4))
        given = (modules, u, r, dv if with_dv else None, da)
        want, got = run("reference", *given), run(name, *given)
        assert worst(got, want) < 1e-12
        assert got["v"].is_contiguous(memory_format=layout)
        assert got["a"].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("gate", ["tanh", "relu", "hard_sigmoid"])
def test_every_gate(name: str, gate: str) -> None:
    u, r, dv, da = (torch.randn(3, 8, 5, 4, dtype=torch.float64) for _ in range(4))
    want, got = (run(which, parts(8, gate), u, r, dv, da) for which in ("reference", name))
    assert worst(got, want) < 1e-12


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_judged_by_float64(name: str, dtype: torch.dtype) -> None:
    modules = parts(32, dtype=torch.float32)
    u, r, dv, da = (torch.randn(4, 32, 12, 12).to(dtype) for _ in range(4))
    assert modules[1] is not None
    exact = copy.deepcopy(modules[0]).double(), copy.deepcopy(modules[1]).double()
    want = run("reference", exact, *(v.double() for v in (u, r, dv, da)))
    got = run(name, modules, u, r, dv, da)
    mask = (got["a"] > 0) == (want["a"] > 0)  # where rounding flips the ReLU, gradients of both are right
    for key, value in want.items():
        if not value.is_floating_point():
            continue
        wanted, found = (value * mask, got[key].double() * mask) if value.shape == mask.shape else (value, got[key].double())
        limit = {torch.bfloat16: 5e-3, torch.float16: 1e-3}[dtype] if value.shape == mask.shape else 2e-2
        assert float((found - wanted).norm() / wanted.norm().clamp_min(1e-3)) < limit, key


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_do_not_depend_on_threads(passes: PairKernels, layout: str, threads: int) -> None:
    torch.manual_seed(0)
    u, r, da, dv = (torch.randn(3, 40, 90, 70).to(memory_format=LAYOUTS[layout]) for _ in range(4))
    mu, scale, shift = torch.randn(3, 40)
    gradient = PairGradient(u, r, da, dv, scale, shift)
    counts = (torch.get_num_threads(), threads)
    assert same_bits(lambda: [*vars(passes.pair_moments(u, r)).values(), *vars(passes.reduce_pair(gradient, mu, r)).values()], counts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_of_far_values_do_not_cancel(passes: PairKernels, layout: str) -> None:
    torch.manual_seed(0)
    u, r = (torch.randn(2, 20, 150, 130).to(memory_format=LAYOUTS[layout]) + 1000 for _ in range(2))
    want = TorchPairKernels().pair_moments(u.double(), r.double())
    got = passes.pair_moments(u, r)
    for key, exact in vars(want).items():
        torch.testing.assert_close(getattr(got, key).double(), exact, rtol=1e-4, atol=0.2)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_keep_the_rules_for_operators(passes: PairKernels) -> None:
    u, r = torch.randn(2, 2, 5, 3, 4).unbind()
    of_map, of_channel = torch.randn(2, 5), torch.randn(5)
    calls: dict[str, tuple[Tensor | None, ...]] = {
        "pair_moments": (u, r),
        "apply_pair": (u, r, of_map, of_channel, of_channel),
        "reduce_pair": (u, r, u, of_channel, r, None),
        "spread_pair": (u, r, u, of_channel, None, of_channel, r, of_map, of_map),
    }
    for name, arguments in calls.items():
        torch.library.opcheck(getattr(torch.ops.senet_cpp, name).default, arguments)
    torch.library.opcheck(torch.ops.senet_cpp.spread_pair.default, (u, r, u, of_channel, None, of_channel, r, None, None))


def steps(name: str, change: Callable[[nn.Module], object] = lambda model: None, network: str = "se_preresnet20") -> dict[str, Tensor]:
    """Return logits, gradients and buffers of a network after a step by a backend."""
    torch.manual_seed(0)
    model = create_model(network, num_classes=10).double().train()
    change(model)
    x = torch.randn(3, 3, 9, 7, dtype=torch.float64)
    with backend(name):
        logits = model(x)
        logits.square().sum().backward()
    return {"logits": logits.detach(), **{key: p.grad for key, p in model.named_parameters()}, **dict(model.named_buffers())}  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("network", ["se_preresnet20", "preresnet20"])
@pytest.mark.parametrize("name", FUSED)
def test_networks_equal_the_definition(name: str, network: str) -> None:
    assert worst(steps(name, network=network), steps("reference", network=network)) < 1e-10


@pytest.mark.parametrize("placement", ["pre", "inner", "post", "identity"])
def test_placements_equal_the_definition(placement: str) -> None:
    """Hold networks to the definition whose block does not stand where the operator has it."""
    found = []
    for name in ("torch", "reference"):
        torch.manual_seed(0)
        model = create_model("se_preresnet20", num_classes=10, placement=placement).double().train()
        x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
        with backend(name):
            logits = model(x)
            logits.square().sum().backward()
        found.append({"logits": logits.detach()} | {key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    assert worst(*found) < 1e-10


def test_units_without_a_block_join_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = TorchPairKernels.activate
    monkeypatch.setattr(TorchPairKernels, "activate", lambda self, *given: calls.append(1) or original(self, *given))
    steps("torch", network="preresnet20")
    assert len(calls) == 9


@pytest.mark.parametrize("name", ["layer2", "bn", "layer3.0"])
def test_hooks_hear_what_they_heard(name: str) -> None:
    heard: list[list[Tensor]] = []
    for which in ("torch", "reference"):
        of_run: list[Tensor] = []

        def listen(model: nn.Module, of_run: list[Tensor] = of_run) -> None:
            model.get_submodule(name).register_forward_hook(lambda module, given, out: of_run.extend((given[0].detach(), out.detach())))

        steps(which, listen)
        heard.append(of_run)
    assert len(heard[0]) == len(heard[1]) == 2
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(*heard, strict=True))


def test_networks_join_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = TorchPairKernels.apply_pair
    monkeypatch.setattr(TorchPairKernels, "apply_pair", lambda self, *given: calls.append(1) or original(self, *given))
    steps("torch")
    assert len(calls) == 9  # the last units of stages too: with the next stage's entry, and with the network's last BN


def test_hooks_on_units_see_one_map() -> None:
    seen = []

    def listen(model: nn.Module) -> None:
        model.get_submodule("layer1.1").register_forward_hook(lambda module, given, out: seen.append((len(given), type(out))))

    assert worst(steps("torch", listen), steps("reference")) < 1e-10
    assert seen == [(1, Tensor)]


def test_second_derivatives_name_the_way_out() -> None:
    norm, block = parts(8)
    u = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    with backend("torch"):
        v, a = preactivated_tail(u, u, recalibrate=block, norm=norm)
    with pytest.raises(RuntimeError, match=r"use senet\.backend\('reference'\)"):
        torch.autograd.grad((v + a).sum(), u, create_graph=True)
