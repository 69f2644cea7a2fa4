"""The squeeze of a convolution's output from means of its input, against the mean of the output."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from senet.ops.inference.squeeze import TAPS, excite_lean, excite_map, means
from senet.ops.reference import excite

SIZES = [(1, 1), (1, 5), (2, 1), (2, 2), (7, 7), (6, 9)]
CASES = [((1, 1), (1, 1)), ((1, 1), (2, 2)), ((1, 1), (3, 2)), ((3, 3), (1, 1))]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def layer(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    return lambda z: F.linear(z, weight, bias)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("kernel", "stride"), CASES, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_means_of_the_taps_give_the_mean_of_the_output(kernel, stride, size, groups, layout):
    x = drawn(3, 4, *size).to(memory_format=layout)
    weight = drawn(6, 4 // groups, *kernel)
    expected = F.conv2d(x, weight, stride=stride, padding=kernel[0] // 2, groups=groups).mean((2, 3))
    taps = TAPS[kernel](x, stride, torch.float64)
    assert taps.shape == (3, 4, *kernel)
    found = F.conv2d(taps, weight, groups=groups).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu", "hard_sigmoid"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_lean_excitation_is_the_definition(gate, bias):
    z, w1, w2 = drawn(3, 8), drawn(2, 8), drawn(8, 2)
    b1, b2 = (drawn(2), drawn(8)) if bias else (None, None)
    torch.testing.assert_close(
        excite_lean(z, (w1, b1), (w2, b2), gate), excite(z, layer(w1, b1), layer(w2, b2), gate), rtol=1e-15, atol=1e-15
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_half_maps_are_averaged_in_float32(layout, dtype):
    x = (drawn(2, 19, 30, 31) + 100).to(dtype, memory_format=layout)
    found = means(x, torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), x.double().mean((2, 3)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gate", ["sigmoid", "relu"])
@pytest.mark.parametrize(("images", "channels", "hidden"), [(1, 7, 1), (3, 19, 5), (2, 512, 37)])
def test_a_map_is_excited_as_its_means_are(images, channels, hidden, gate, dtype, layout):
    x = drawn(images, channels, 9, 11).to(dtype, memory_format=layout)
    wide = torch.promote_types(dtype, torch.float32)
    w1, b1, w2, b2 = (drawn(*shape) for shape in ((hidden, channels), (hidden,), (2 * channels, hidden), (2 * channels,)))
    expected = excite(x.double().mean((2, 3)), layer(w1, b1), layer(w2, b2), gate)
    found = excite_map(x, (w1.to(wide), b1.to(wide)), (w2.to(wide), b2.to(wide)), gate)
    assert found.dtype == wide
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_layers_without_bias(threads):
    x, w1, w2 = drawn(2, 600, 3, 3), drawn(300, 600), drawn(1200, 300)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = excite_map(x, (w1, None), (w2, None), "tanh")
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, excite(x.mean((2, 3)), layer(w1), layer(w2), "tanh"), rtol=1e-12, atol=1e-12)
