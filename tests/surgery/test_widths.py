"""Widths of layers: read, changed, and refused."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from senet.errors import UsageError
from senet.surgery.channel_scale import ChannelScale, PassThrough
from senet.surgery.widths import Widths, has_widths, resize_, widths_of

LAYERS: dict[str, tuple[Callable[[int, int], nn.Module], Widths]] = {
    "conv": (lambda i, o: nn.Conv2d(i, o, 3, padding=1), Widths(4, 6)),
    "grouped": (lambda i, o: nn.Conv2d(i, o, 3, groups=2, bias=False), Widths(4, 6, 2)),
    "depthwise": (lambda i, o: nn.Conv2d(i, o, 3, groups=i), Widths(6, 6, 6)),
    "transposed": (lambda i, o: nn.ConvTranspose2d(i, o, 2, stride=2, groups=2), Widths(4, 6, 2)),
    "volumes": (lambda i, o: nn.Conv3d(i, o, 3), Widths(4, 6)),
    "linear": (nn.Linear, Widths(4, 6)),
    "bn": (lambda i, o: nn.BatchNorm2d(o), Widths(6, 6)),
    "bn without affine": (lambda i, o: nn.BatchNorm2d(o, affine=False), Widths(6, 6)),
    "bn without statistics": (lambda i, o: nn.BatchNorm2d(o, track_running_stats=False), Widths(6, 6)),
    "instance": (lambda i, o: nn.InstanceNorm2d(o, affine=True), Widths(6, 6)),
    "group norm": (lambda i, o: nn.GroupNorm(2, o), Widths(6, 6)),
    "prelu": (lambda i, o: nn.PReLU(o), Widths(6, 6)),
}
SMALLER = {"grouped": Widths(2, 4, 2), "depthwise": Widths(4, 4, 4), "transposed": Widths(2, 4, 2)}


@pytest.mark.parametrize("case", LAYERS)
def test_a_resized_layer_is_the_layer_that_is_built_so(case: str) -> None:
    build, widths = LAYERS[case]
    layer = build(widths.inputs, widths.outputs)
    assert has_widths(layer)
    assert widths_of(layer) == widths
    square = widths.inputs == widths.outputs
    smaller = SMALLER.get(case, Widths(4, 4) if square else Widths(2, 4))
    resize_(layer, smaller)
    like = build(smaller.inputs, smaller.outputs)
    assert widths_of(layer) == smaller
    assert layer.extra_repr() == like.extra_repr()
    assert {name: (value.shape, value.requires_grad) for name, value in layer.named_parameters()} == {
        name: (value.shape, value.requires_grad) for name, value in like.named_parameters()
    }
    assert {name: value.shape for name, value in layer.named_buffers()} == {name: value.shape for name, value in like.named_buffers()}
    layer.load_state_dict(like.state_dict())
    images = torch.randn(2, smaller.inputs, *[5] * (3 if case == "volumes" else 2))
    images = torch.randn(2, smaller.inputs) if case == "linear" else images
    assert torch.equal(layer.eval()(images), like.eval()(images))


def test_type_device_and_training_of_parameters_stay() -> None:
    layer = nn.Conv2d(4, 6, 3, dtype=torch.float64, device="meta").requires_grad_(False)
    resize_(layer, Widths(2, 6))
    assert (layer.weight.dtype, layer.weight.device.type, layer.weight.requires_grad) == (torch.float64, "meta", False)


def test_tensors_whose_shape_stays_keep_their_values() -> None:
    layer = nn.Linear(4, 6)
    bias = layer.bias.detach().clone()
    resize_(layer, Widths(2, 6))
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize("widths", [(0, 4, 1), (4, 4, 3), (4, 2**21, 1), (True, 4, 1)])
def test_impossible_widths_are_refused(widths: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=r"widths of a layer|are not 3 equal groups"):
        Widths(*widths)


def test_a_layer_without_widths_is_refused() -> None:
    assert not has_widths(nn.ReLU())
    with pytest.raises(UsageError, match="ReLU is no layer whose widths are known"):
        widths_of(nn.ReLU())


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 2)])
def test_a_scale_multiplies_channels(shape: tuple[int, ...]) -> None:
    scale = ChannelScale(3)
    x = torch.randn(shape)
    assert torch.equal(scale(x, x), x)
    scale.load_state_dict({"scale": torch.tensor([1.0, 2.0, 3.0])})
    assert torch.equal(scale(x).movedim(1, -1), x.movedim(1, -1) * torch.tensor([1.0, 2.0, 3.0]))
    assert scale(x.bfloat16()).dtype == torch.bfloat16
    assert PassThrough()(x, x) is x
