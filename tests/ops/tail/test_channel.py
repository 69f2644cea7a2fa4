"""The fused residual tail equals the definition: value, every gradient and the running statistics, in float64 and in half precision."""

import copy
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.pairwise import label, pairwise
from oracles.passes import LAYOUTS
from senet import ChannelSE, Gated, backend
from senet.ops import backend as backends
from senet.ops.passes.torch import TorchKernels
from senet.ops.tail.call import residual_tail
from senet.ops.tail.fusible import TailModules, takes

SHAPES = [(3, 8, 5, 4), (1, 16, 7, 3), (2, 5, 1, 1), (2, 33, 9, 11)]
FORMS = [  # norm, projection, gate, ReLU
    (True, False, "sigmoid", True),
    (True, True, "sigmoid", True),
    (True, True, "sigmoid", False),
    (False, False, "sigmoid", False),
    (True, False, None, True),
    (True, True, None, True),
    (True, False, "tanh", True),
    (True, False, "relu", True),
    (True, True, "hard_sigmoid", False),
]
FUSED = ("torch", "cpp")
"""Backends of the fused operator that are held to the definition."""


@pytest.fixture(autouse=True)
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the passes in torch's operations without torch.compile, which takes seconds a shape."""
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda device: (TorchKernels(), ""))


def parts(channels: int, form: tuple, *, dtype: torch.dtype = torch.float64, training: bool = True) -> list[Any]:
    """Return norm, the shortcut's norm and block of a form, all lively."""
    norm, projection, gate, _ = form
    made: list[Any] = [nn.BatchNorm2d(channels).to(dtype).train(training) if wanted else None for wanted in (norm, projection)]
    for module in made:
        if module is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if gate is None:
        return [*made, None]
    block = ChannelSE(channels, 2, gate=gate).to(dtype)
    nn.init.normal_(block.fc1.bias)
    nn.init.normal_(block.fc2.bias)
    return [*made, block]


def run(name: str, modules: list[Any], x: Tensor, r: Tensor, dy: Tensor, relu: bool) -> Iterator[tuple[str, Tensor]]:
    """Give everything that one backend computes: output, gradients, running statistics."""
    x, r = x.clone().requires_grad_(), r.clone().requires_grad_()
    norm, shortcut_norm, block = (copy.deepcopy(module) for module in modules)
    with backend(name):
        y = residual_tail(x, r, norm=norm, shortcut_norm=shortcut_norm, recalibrate=block, relu=relu)
    y.backward(dy)
    yield from (("y", y.detach()), ("dx", x.grad), ("dr", r.grad))  # pyright: ignore[reportReturnType]
    for name_of, module in (("norm", norm), ("shortcut_norm", shortcut_norm), ("block", block)):
        if module is not None:
            yield from ((f"{name_of}.{key}", p.grad) for key, p in module.named_parameters())
            yield from ((f"{name_of}.{key}", b) for key, b in module.named_buffers())


@pytest.mark.parametrize("case", pairwise({"form": FORMS, "shape": SHAPES, "name": FUSED}), ids=label)
def test_equals_the_definition(case: dict[str, Any]) -> None:
    form, shape, name = case["form"], case["shape"], case["name"]
    for layout, training in product(LAYOUTS.values(), (True, False)):
        torch.manual_seed(0)
        modules = parts(shape[1], form, training=training)
        x, r, dy = (torch.randn(shape, dtype=torch.float64).to(memory_format=layout) for _ in range(3))
        assert takes(x, r, TailModules(*modules))
        want, got = (dict(run(which, modules, x, r, dy, form[3])) for which in ("reference", name))
        scale = {key: max(1.0, float(value.abs().max())) for key, value in want.items()}
        errors = {key: float((got[key] - value).abs().max()) / scale[key] for key, value in want.items()}
        assert max(errors.values()) < 1e-12, errors
        assert got["y"].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_judged_by_float64(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    form = (True, True, "sigmoid", True)
    modules = parts(32, form, dtype=torch.float32)
    x, r, dy = (torch.randn(4, 32, 12, 12).to(dtype) for _ in range(3))
    exact = [copy.deepcopy(module).double() for module in modules]
    want = dict(run("reference", exact, x.double(), r.double(), dy.double(), form[3]))
    got = dict(run(name, modules, x, r, dy, form[3]))
    mask = got["y"] > 0  # where rounding flips the ReLU, gradients of both are right
    limit = {torch.bfloat16: 4e-3, torch.float16: 1e-3}[dtype]
    for key, value in want.items():
        if not value.is_floating_point():
            continue
        wanted, found = (value * mask, got[key].double() * mask) if value.shape == mask.shape else (value, got[key].double())
        error = float((found - wanted).norm() / wanted.norm().clamp_min(1e-3))
        assert error < (limit if value.shape == mask.shape else 2e-2), (key, error)


@pytest.mark.parametrize("name", FUSED)
def test_numerical_derivatives(name: str) -> None:
    torch.manual_seed(0)
    norm, shortcut_norm, block = parts(4, (True, True, "sigmoid", False))
    x, r = (torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def tail(x: Tensor, r: Tensor, *_: Tensor) -> Tensor:
        return residual_tail(x, r, norm=norm, shortcut_norm=shortcut_norm, recalibrate=block, relu=False)

    with backend(name):
        assert torch.autograd.gradcheck(tail, (x, r, *(p for m in (norm, shortcut_norm, block) for p in m.parameters())))


@pytest.mark.parametrize("name", FUSED)
def test_autocast_changes_nothing_inside(name: str) -> None:
    torch.manual_seed(0)
    modules = parts(16, (True, True, "sigmoid", True), dtype=torch.float32)
    x, r, dy = (torch.randn(4, 16, 9, 9).bfloat16() for _ in range(3))
    want = dict(run(name, modules, x, r, dy, True))
    with torch.autocast("cpu", torch.bfloat16):
        got = dict(run(name, modules, x, r, dy, True))
    assert got["y"].dtype == torch.bfloat16
    assert all(torch.equal(got[key], value) for key, value in want.items())


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_wrapped_norms_equal_the_definition(name: str, gain: float) -> None:
    torch.manual_seed(0)
    norm, _, block = parts(8, (True, False, "sigmoid", False))
    wrapped = Gated(norm, block, gain=gain)
    x, dy = (torch.randn(3, 8, 5, 4, dtype=torch.float64) for _ in range(2))
    found = []
    for which in ("reference", name):
        own, given = copy.deepcopy(wrapped), x.clone().requires_grad_()
        with backend(which):
            y = own(given)
        assert ("TailFunction" in str(y.grad_fn)) == (which == name)
        y.backward(dy)
        found.append({"y": y, "x": given.grad, **dict(own.named_buffers()), **{key: p.grad for key, p in own.named_parameters()}})
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-11, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", FUSED)
def test_frozen_norm_beside_training_norm(name: str) -> None:
    torch.manual_seed(0)
    modules = parts(8, (True, True, "sigmoid", True))
    modules[0].eval()
    x, r, dy = (torch.randn(3, 8, 5, 4, dtype=torch.float64) for _ in range(3))
    want, got = (dict(run(which, modules, x, r, dy, True)) for which in ("reference", name))
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-11, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_over_steps(name: str, momentum: float | None) -> None:
    norms = [nn.BatchNorm2d(6, momentum=momentum).double() for _ in range(2)]
    block = ChannelSE(6, 2).double()
    for _ in range(3):
        x = torch.randn(4, 6, 3, 3, dtype=torch.float64) + 2
        for which, norm in zip(("reference", name), norms, strict=True):
            with backend(which):
                residual_tail(x, x, norm=norm, recalibrate=block)
    for key, value in norms[0].state_dict().items():
        torch.testing.assert_close(norms[1].state_dict()[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUSED)
def test_repeats_bit_by_bit(name: str) -> None:
    torch.manual_seed(0)
    modules = parts(16, (True, True, "sigmoid", True), dtype=torch.float32)
    x, r, dy = (torch.randn(4, 16, 9, 9) for _ in range(3))
    first, second = (dict(run(name, modules, x, r, dy, True)) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", FUSED)
def test_keeps_no_more_than_a_plain_tail(name: str) -> None:
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel() if tensor.ndim == 4 else 0)
        return tensor

    modules = parts(8, (True, False, "sigmoid", True), dtype=torch.float32)
    x, r = torch.randn(2, 8, 16, 16, requires_grad=True), torch.randn(2, 8, 16, 16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), backend(name):
        residual_tail(x, r, norm=modules[0], recalibrate=modules[2])
    assert sum(saved) == 2 * x.numel()  # x and y


@pytest.mark.parametrize("name", FUSED)
def test_second_derivatives_name_the_way_out(name: str) -> None:
    modules = parts(8, (True, False, "sigmoid", True))
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    with backend(name):
        y = residual_tail(x, x, norm=modules[0], recalibrate=modules[2])
    with pytest.raises(RuntimeError, match=r"use senet\.backend\('reference'\)"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_what_it_does_not_take_runs_the_definition() -> None:
    x = torch.randn(2, 8, 3, 3)
    norm, block = nn.BatchNorm2d(8), ChannelSE(8, 2)
    assert takes(x, x, TailModules(norm, recalibrate=block))
    assert not takes(x, x, TailModules(norm, recalibrate=ChannelSE(8, 2, squeeze="max")))
    assert not takes(x, x, TailModules(nn.GroupNorm(2, 8), recalibrate=block))
    assert not takes(x, x[:1], TailModules(norm, recalibrate=block))
    assert not takes(x, x, TailModules())
    assert not takes(x.to(torch.int32), x.to(torch.int32), TailModules(norm, recalibrate=block))


def test_hooks_are_heard() -> None:
    heard = []
    x, norm, block = torch.randn(2, 8, 3, 3), nn.BatchNorm2d(8), ChannelSE(8, 2)
    with backend("torch"):
        for module in (norm, block):
            handle = module.register_forward_hook(lambda module, *_: heard.append(module))
            residual_tail(x, x, norm=norm, recalibrate=block)
            handle.remove()
    assert heard == [norm, block]
    assert takes(x, x, TailModules(norm, recalibrate=block))


def test_one_value_a_channel_cannot_train() -> None:
    x = torch.randn(1, 8, 1, 1)
    with backend("torch"), pytest.raises(ValueError, match="more than 1 value per channel"):
        residual_tail(x, x, norm=nn.BatchNorm2d(8), recalibrate=ChannelSE(8, 2))


def test_unknown_backends_are_named() -> None:
    with pytest.raises(ValueError, match="unknown backend 'refrence' \\(did you mean 'reference'"), backend("refrence"):
        pass
