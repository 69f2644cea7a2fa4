"""A layer that has taken factors up gives what it gave times them, or what it gave for its input times them: float64, every kind."""

import pytest
import torch
from torch import nn

from senet.compression.scaled_layers import Uptake

CONVS = {
    "conv": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 12, 3, groups=6, padding=2, dilation=2),
    "reflect": lambda: nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose2d(6, 8, 3, stride=2),
    "transposed, grouped": lambda: nn.ConvTranspose2d(6, 8, 2, stride=2, groups=2),
}
NORMS = {
    "batch": lambda: nn.BatchNorm2d(6),
    "synchronised": lambda: nn.SyncBatchNorm(6),
    "instance": lambda: nn.InstanceNorm2d(6, affine=True),
    "group": lambda: nn.GroupNorm(3, 6),
}
LAST = {"linear": lambda: nn.Linear(6, 8), "layer": lambda: nn.LayerNorm(6), "without bias": lambda: nn.LayerNorm(6, bias=False)}


def made(make):
    torch.manual_seed(0)
    layer = make().double().eval()
    for name, tensor in layer.state_dict().items():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5) if "var" in name else nn.init.normal_(tensor)
    return layer


@pytest.mark.parametrize("name", [*CONVS, *NORMS])
def test_outputs(name):
    layer = made((CONVS | NORMS)[name])
    x = torch.randn(2, 6, 9, 7, dtype=torch.float64)
    expected = layer(x).detach()
    factors = torch.linspace(-1, 2, expected.shape[1], dtype=torch.float64)
    uptake = Uptake(layer, "here", "outputs", factors)
    assert uptake.why_not() is None
    uptake.carry_out()
    torch.testing.assert_close(layer(x), expected * factors[:, None, None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*CONVS, "batch", "synchronised"])
def test_inputs(name):
    layer = made((CONVS | NORMS)[name])
    x, factors = torch.randn(2, 6, 9, 7, dtype=torch.float64), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    expected = layer(x * factors[:, None, None])
    uptake = Uptake(layer, "here", "inputs", factors)
    assert uptake.why_not() is None
    uptake.carry_out()
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of", ["outputs", "inputs"])
@pytest.mark.parametrize("name", LAST)
def test_channels_that_come_last(name, of):
    layer = made(LAST[name])
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    factors = torch.linspace(0.1, 0.9, 8 if (name, of) == ("linear", "outputs") else 6, dtype=torch.float64)
    expected = layer(x) * factors if of == "outputs" else layer(x * factors)
    uptake = Uptake(layer, "here", of, factors)
    if of == "inputs" and name != "linear":
        assert uptake.why_not() == "here normalises what it is given"
        return
    assert uptake.why_not() is None
    uptake.carry_out()
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


class PaddedConv(nn.Conv2d):
    """Convolution that pads in its own way, as those of TensorFlow's networks do."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        return nn.functional.conv2d(nn.functional.pad(input, (0, 1, 0, 1)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class StandardisedConv(nn.Conv2d):
    """Convolution whose weight has mean 0 and variance 1 whatever it is multiplied by."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        std, mean = torch.std_mean(self.weight, (1, 2, 3), keepdim=True)
        return self._conv_forward(input, (self.weight - mean) / std, self.bias)


class BoundedConv(nn.Conv2d):
    """Convolution with a ReLU that is bounded."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        return nn.functional.relu6(super().forward(input))


@pytest.mark.parametrize("of", ["outputs", "inputs"])
@pytest.mark.parametrize("kind", [PaddedConv, StandardisedConv, BoundedConv])
def test_a_forward_of_its_own_is_tried(kind, of):
    layer = made(lambda: kind(6, 6, 3, stride=2))
    uptake = Uptake(layer, "here", of, torch.linspace(0.1, 0.9, 6, dtype=torch.float64))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    reason = uptake.why_not()
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    if kind is PaddedConv:
        assert reason is None
    elif (kind, of) == (BoundedConv, "inputs"):
        assert reason is None  # what it does to its outcome is the same
    else:
        assert reason == "here has a forward of its own, which does not follow its weight and bias"


def test_half_precision_is_rounded_once():
    layer = nn.Conv2d(4, 4, 1).to(torch.bfloat16)
    weight, factors = layer.weight.detach().double(), torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    Uptake(layer, "here", "outputs", factors).carry_out()
    assert torch.equal(layer.weight, (weight * factors[:, None, None, None]).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("layer", "of", "factors", "reason"),
    [
        (nn.BatchNorm2d(3, affine=False), "outputs", [1, 2, 3], "here has no gamma and beta"),
        (nn.BatchNorm2d(3, track_running_stats=False), "inputs", [1, 2, 3], "here normalises what it is given"),
        (nn.GroupNorm(1, 3), "inputs", [1, 2, 3], "here normalises what it is given"),
        (nn.BatchNorm2d(3), "inputs", [0, 0.5, 1], "here is given channels times 0 or less"),
        (nn.BatchNorm2d(3, eps=1.0), "inputs", [5, 5, 5], "the variances of here cannot make up for the factors"),
        (nn.BatchNorm2d(3), "inputs", [1e-30, 1, 1], "the variances of here cannot make up for the factors"),
        (nn.LayerNorm([2, 3]), "outputs", [1, 2, 3], "here normalises several axes"),
        (nn.Conv2d(3, 4, 1), "outputs", [1, 2, 3], "here has 4 channels where the block has 3"),
        (nn.LazyConv2d(4, 1), "outputs", [1, 2, 3], "here is more than its weight and bias"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), "outputs", [1, 2, 3], "here is more than its weight and bias"),
    ],
)
def test_reasons(layer, of, factors, reason):
    assert str(Uptake(layer, "here", of, torch.tensor(factors, dtype=torch.float64)).why_not()).startswith(reason)
