"""Folding against the operations one after the other, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from senet.deploy.fold import as_matrix, fold_norm, fold_squeeze, saves_weights


def normalised(channels: int, affine: bool) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, affine=affine, eps=1e-3).double().eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_folded_bn_is_the_bn(bias, affine, groups):
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 3, 2, 1, groups=groups, bias=bias).double(), normalised(6, affine)
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    weight, shift = fold_norm(conv, norm)
    found = F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
    torch.testing.assert_close(found, norm(conv(x)), rtol=1e-12, atol=1e-12)


def test_without_a_bn_the_convolution_is_copied():
    conv = nn.Conv2d(4, 6, 3, bias=False)
    weight, bias = fold_norm(conv, None)
    assert torch.equal(weight, conv.weight)
    assert weight.data_ptr() != conv.weight.data_ptr()
    assert bias is None


def test_half_weights_are_rounded_once():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 1, bias=False).bfloat16(), normalised(6, affine=True).bfloat16()
    weight, bias = fold_norm(conv, norm)
    exact, _ = fold_norm(conv.double(), norm.double())
    assert weight.dtype == torch.bfloat16
    assert bias is not None
    assert torch.equal(weight, exact.bfloat16())


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
def test_the_first_layer_takes_the_convolution_in(kernel, groups, biases):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 9, kernel, groups=groups, bias=biases[0]).double()
    fc = nn.Linear(9, 4, bias=biases[1]).double()
    taps = torch.randn(2, 6, kernel, kernel, dtype=torch.float64)
    z = F.conv2d(taps, conv.weight, conv.bias, groups=groups).flatten(1)
    plain = taps.flatten(1) @ as_matrix(conv.weight, groups).T
    torch.testing.assert_close(plain if conv.bias is None else plain + conv.bias, z)
    weight, bias = fold_squeeze(conv.weight, conv.bias, groups, fc)
    torch.testing.assert_close(F.linear(taps.flatten(1), weight, bias), fc(z), rtol=1e-13, atol=1e-13)


def test_gates_are_folded_in_float32_at_least():
    conv, fc = nn.Conv2d(4, 8, 1).bfloat16(), nn.Linear(8, 2).bfloat16()
    weight, bias = fold_squeeze(conv.weight, conv.bias, 1, fc)
    assert bias is not None
    assert weight.dtype == bias.dtype == torch.float32


@pytest.mark.parametrize(
    ("kernel", "inputs", "outputs", "groups", "hidden", "expected"),
    [(1, 64, 256, 1, 16, True), (1, 256, 64, 1, 128, False), (3, 64, 64, 64, 16, False), (3, 64, 64, 1, 4, True)],
)
def test_folding_pays_by_count(kernel, inputs, outputs, groups, hidden, expected):
    conv, fc = nn.Conv2d(inputs, outputs, kernel, groups=groups), nn.Linear(outputs, hidden)
    together, apart = hidden * inputs * kernel**2, conv.weight.numel() + fc.weight.numel()
    assert saves_weights(conv.weight, groups, fc) is (together < apart)
    assert (together < apart) is expected
