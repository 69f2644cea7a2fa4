"""The end of a unit in inference, on the convolution's output itself."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

import senet
from oracles.pairwise import label, pairwise
from senet.ops.backend import choose
from senet.ops.inference.join import join

FORMATS = [torch.contiguous_format, torch.channels_last]


def parts(dtype: torch.dtype, layout: torch.memory_format, channels: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y, r = (torch.randn(2, channels, 7, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    s = torch.rand(2, channels, generator=generator, dtype=torch.float64)
    return y.to(dtype, memory_format=layout), s.to(torch.promote_types(dtype, torch.float32)), r.to(dtype, memory_format=layout)


FACTORS = {
    "backend": ["reference", None],
    "layout": FORMATS,
    "dtype": [torch.float32, torch.float64, torch.bfloat16],
    "channels": [5, 16, 67],  # less than a vector, whole vectors, and a rest behind them
    "relu": [True, False],
    "shortcut": [True, False],
    "gated": [True, False],
}


@pytest.mark.parametrize("case", pairwise(FACTORS, strength=3), ids=label)
def test_join_is_its_definition_and_writes_to_the_map(case):
    gated, shortcut, relu, dtype, layout = (case[key] for key in ("gated", "shortcut", "relu", "dtype", "layout"))
    y, s, r = parts(dtype, layout, case["channels"])
    expected = y.double() * (s[..., None, None].double() if gated else 1) + (r.double() if shortcut else 0)
    expected = expected.relu() if relu else expected
    before = r.clone()
    with nullcontext() if case["backend"] is None else senet.backend(case["backend"]):
        found = join(y, s if gated else None, r if shortcut else None, relu=relu)
    assert found.data_ptr() == y.data_ptr()
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=layout)
    assert torch.equal(r, before)
    exactness = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=exactness, atol=exactness)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_pass_rounds_once(dtype):
    y, s, r = parts(dtype, torch.channels_last, 64)
    exact = (y.double() * s[..., None, None].double() + r.double()).relu()
    found = join(y.clone(memory_format=torch.channels_last), s, r, relu=True)
    if choose(y).kernels is None:
        pytest.skip(f"no C++ operators: {choose(y).reason}")
    assert (found.double() - exact).abs().max() <= exact.abs().max() * torch.finfo(dtype).eps


def test_nan_passes_the_relu():
    y = torch.tensor([float("nan"), -1.0, 2.0]).reshape(1, 3, 1, 1)
    found = join(y, torch.ones(1, 3), torch.zeros(1, 3, 1, 1), relu=True).flatten()
    assert found[0].isnan()
    assert found[1:].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 5, 7, 1), (3, 2, 5, 7, 9)], ids=str)
def test_a_shortcut_is_broadcast(shape):
    y, s, _ = parts(torch.float64, torch.contiguous_format)
    r = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(join(y.clone(), s, r), y * s[..., None, None] + r)


def test_a_shortcut_of_another_layout_or_type():
    y, s, r = parts(torch.float32, torch.channels_last)
    expected = y * s[..., None, None] + r
    torch.testing.assert_close(join(y.clone(), s, r.contiguous()), expected)
    torch.testing.assert_close(join(y.clone(), s, r.double()), expected.double(), rtol=1e-6, atol=1e-6)


def test_gradients_pass():
    y, s, r = (tensor.requires_grad_() for tensor in parts(torch.float64, torch.contiguous_format))
    assert torch.autograd.gradcheck(lambda *parts: join(parts[0] * 1, *parts[1:], relu=True), (y, s, r))
