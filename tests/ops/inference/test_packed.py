"""Convolutions with packed weights against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from senet.ops.inference.packed import Geometry, available, convolve, pack

SHAPES = {
    "1x1": ((6, 4, 1, 1), Geometry((0, 0), (1, 1), (1, 1), 1)),
    "1x1/2": ((6, 4, 1, 1), Geometry((0, 0), (2, 2), (1, 1), 1)),
    "3x3": ((6, 4, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 1)),
    "3x3/2 grouped": ((6, 2, 3, 3), Geometry((1, 1), (2, 2), (1, 1), 2)),
    "depthwise": ((4, 1, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 4)),
    "1x7 dilated": ((6, 4, 1, 7), Geometry((0, 6), (1, 1), (1, 2), 1)),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("added", [True, False])
def test_convolve_is_torchs_convolution(name, layout, relu, added):
    shape, geometry = SHAPES[name]
    torch.manual_seed(0)
    weight, bias = torch.randn(shape), torch.randn(shape[0])
    packed = None
    for size in ((2, 4, 9, 11), (1, 4, 16, 8)):  # packed for the first, used for both
        x = torch.randn(size).to(memory_format=layout)
        expected = F.conv2d(x, weight, bias, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
        shortcut = torch.randn_like(expected) if added else None
        before = None if shortcut is None else shortcut.clone()
        expected = expected if shortcut is None else expected + shortcut
        packed = pack(weight, geometry, x.shape) if packed is None else packed
        found = convolve(x, packed, bias, geometry, shortcut, relu=relu)
        torch.testing.assert_close(found, expected.relu() if relu else expected, rtol=1e-5, atol=1e-5)
        assert shortcut is None or before is None or torch.equal(shortcut, before)


def test_what_cannot_be_packed_is_told():
    weight = torch.randn(4, 3, 3, 3)
    x = torch.randn(1, 3, 8, 8)
    assert available(x, weight)
    assert not available(x.double(), weight.double())
    assert not available(x.bfloat16(), weight)
    assert not available(x[:0], weight)
    assert not available(x.to("meta"), weight.to("meta"))
    assert not available(x.requires_grad_(), weight)
    with torch.no_grad():
        assert available(x, weight)
        with torch.autocast("cpu", torch.bfloat16):
            assert not available(x, weight)
        assert torch.func.vmap(lambda part: torch.tensor(available(part, weight)), out_dims=None)(x[None]).item() is False
