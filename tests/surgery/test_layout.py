"""Which axes hold features: said by the layer that makes them, followed through what moves, splits, joins and mixes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from senet.surgery.layout import Axes, FeatureAxes, feature_axes, mark, shape_only

WIDTH = 12


def rows(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def attention(x: Tensor) -> Tensor:
    q, k, v = torch.cat([x, x, x], 2).reshape(2, 35, 3, 4, 3).permute(2, 0, 3, 1, 4)
    return ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).reshape(2, 35, 12)


# x is (2, 12, 5, 7) and comes from a convolution
WAYS: dict[str, tuple[Callable[[Tensor], Tensor], Axes | None]] = {
    "convolution": (lambda x: x, (1,)),
    "activation": (lambda x: F.relu(x) * 2 + 1, (1,)),
    "in place": (lambda x: x.relu_().mul_(2), (1,)),
    "pool": (lambda x: F.max_pool2d(x, 2), (1,)),
    "padding": (lambda x: F.pad(x, (1, 1)), (1,)),
    "interpolation": (lambda x: F.interpolate(x, scale_factor=2.0), (1,)),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (1,)),
    "permute": (lambda x: x.permute(0, 2, 3, 1), (3,)),
    "permute, axes in a tuple": (lambda x: torch.permute(x, (0, 3, 1, 2)), (2,)),
    "transpose": (lambda x: x.transpose(1, -1), (3,)),
    "movedim": (lambda x: x.movedim(1, -1), (3,)),
    "swapaxes": (lambda x: x.swapaxes(1, 2), (2,)),
    "attribute": (lambda x: x.mT.movedim(1, 3).mT, (2,)),
    "tokens": (rows, (2,)),
    "tokens and back": (lambda x: rows(x).transpose(1, 2).reshape(2, WIDTH, 5, 7), (1,)),
    "a token more": (lambda x: torch.cat([torch.zeros(2, 1, WIDTH), rows(x)], 1), (2,)),
    "linear over features": (lambda x: nn.Linear(WIDTH, WIDTH)(x.permute(0, 2, 3, 1)), (3,)),
    "linear over tokens": (lambda x: nn.Linear(35, 35)(x.flatten(2)).transpose(1, 2), (2,)),
    "normalised last axis": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (WIDTH,)), (3,)),
    "normalised positions": (lambda x: F.layer_norm(x, (7,)), (1,)),
    "batch norm over tokens in a row": (lambda x: nn.BatchNorm1d(WIDTH)(rows(x).flatten(0, 1)).reshape(2, 35, WIDTH), (2,)),
    "windows": (lambda x: x.permute(0, 2, 3, 1).reshape(2, 5, 1, 7, 1, WIDTH).transpose(2, 3).reshape(-1, 7, 1, WIDTH), (3,)),
    "groups": (lambda x: x.view(2, 3, 4, 5, 7), (1, 2)),
    "shuffled groups": (lambda x: x.view(2, 3, 4, 5, 7).transpose(1, 2).reshape(2, WIDTH, 5, 7), (1,)),
    "part of the features": (lambda x: x[:, 2:9:3], (1,)),
    "one row": (lambda x: x[:, :, 1], (1,)),
    "one column": (lambda x: x.permute(0, 2, 3, 1)[:, :, 1], (2,)),
    "chunk": (lambda x: x.permute(0, 2, 3, 1).chunk(2, 1)[1], (3,)),
    "one more axis": (lambda x: x.unsqueeze(1), (2,)),
    "joined features": (lambda x: torch.cat([x, x], 1), (1,)),
    "sum of a stack": (lambda x: torch.stack([x, x]).sum(0), (1,)),
    "mean of positions": (lambda x: x.permute(0, 2, 3, 1).mean(1), (2,)),
    "mean of features": (lambda x: x.mean(1), None),
    "attention": (lambda x: attention(rows(x)), (2,)),
    "scaled product": (lambda x: F.scaled_dot_product_attention(rows(x), rows(x), rows(x)), (2,)),
    "product with a weight": (lambda x: x.permute(0, 2, 3, 1) @ torch.ones(WIDTH, 4), (3,)),
    "sum with a parameter": (lambda x: rows(x) + torch.ones(1, 35, 1), (2,)),
    "sum of two layouts": (lambda x: x[:, :5, :, :5] + x[:, :5, :, :5].transpose(1, 3), None),
    "features in the batch": (lambda x: x.flatten(0, 1), None),
    "einsum": (lambda x: torch.einsum("nchw->nhwc", x), None),
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("way", WAYS)
def test_features_are_followed(way: str, device: str) -> None:
    function, expected = WAYS[way]
    with torch.device(device), torch.no_grad(), FeatureAxes():
        result = function(nn.Conv2d(3, WIDTH, 1)(torch.zeros(2, 3, 5, 7)))
    assert feature_axes(result) == expected


def test_what_no_layer_made_has_no_features() -> None:
    with FeatureAxes():
        assert feature_axes(torch.zeros(2, 3, 4) + 1) is None


def test_weights_are_not_marked() -> None:
    layer = nn.Conv2d(3, 4, 1)
    with FeatureAxes():
        layer(torch.zeros(1, 3, 2, 2))
    assert all(feature_axes(parameter) is None for parameter in layer.parameters())


def test_shapes_keep_their_features() -> None:
    (copied, number) = shape_only((mark(torch.zeros(2, 3), (1,)), 5))
    assert copied.is_meta
    assert (feature_axes(copied), number) == ((1,), 5)


class Seen(TorchFunctionMode):
    """Names of the functions that are called while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **kwargs or {})


def test_other_modes_follow_the_network_and_not_the_looks_at_its_shapes() -> None:
    x, weight = torch.empty(2, 3, 8, 8, device="meta"), torch.empty(4, 3, 3, 3, device="meta")
    with Seen() as seen, FeatureAxes():
        y = torch.conv2d(x, weight).permute(0, 2, 3, 1).mean(1)
        (copied,) = shape_only((y,))
    assert seen.names == ["conv2d", "permute", "mean"]
    assert feature_axes(copied) == feature_axes(y) == (2,)
