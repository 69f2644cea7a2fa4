"""What dense networks cost, against arithmetic on shapes, at sizes of which nothing is computed."""

import pytest
import torch
from torch import nn

from senet import create_model, profile
from senet.measuring.counting import Cost, count
from senet.models.segmentation.enlarging import Interpolation, UpConvolution
from senet.ops.unpooling import max_pool, max_unpool

LARGE = (1, 1, 1024, 1024)


def macs_of_unet(side: int, classes: int, *, transposed: bool = False) -> int:
    """Multiply-accumulates of a U-Net of 64 channels, two 5x5 convolutions a block, for one channel."""
    areas = [(side >> level) ** 2 for level in range(5)]
    encoder = areas[0] * 25 * 64 * (1 + 64) + sum(2 * area * 25 * 64 * 64 for area in areas[1:])
    decoder = sum(area * 25 * 64 * (128 + 64) for area in areas[:-1])
    up = sum(area * 64 * 64 for area in areas[:-1]) if transposed else 0  # a value of the result sees one tap of every channel
    return encoder + decoder + up + areas[0] * 64 * classes


@pytest.mark.parametrize("transposed", [False, True])
def test_unet_at_1024(transposed: bool) -> None:
    model = create_model("unet", in_channels=1, device="meta", upsample="transposed" if transposed else "bilinear")
    cost = count(model, torch.empty(LARGE, device="meta"), [])[""]
    assert cost.macs == macs_of_unet(1024, 28, transposed=transposed)


def test_blocks_cost_their_layers_and_gates() -> None:
    result = profile(create_model("scse_unet", in_channels=1, device="meta"), LARGE, latency=False)
    assert result.plain is not None
    areas = [(1024 >> level) ** 2 for level in (0, 1, 2, 3, 3, 2, 1, 0)]
    fcs, spatial, gates = 8 * 2 * 64 * 32, sum(64 * area for area in areas), sum(2 * 64 * area for area in areas)
    assert result.macs - result.plain.macs == fcs + spatial + gates
    assert result.squeeze_adds == sum(64 * area for area in areas)


def test_ways_up() -> None:
    x = torch.zeros(2, 4, 5, 6, device="meta")
    taken = count(Sized(UpConvolution(4, 2)).to("meta"), x, [])[""]
    assert (taken.params, taken.macs) == (4 * 4 * 4 + 4, 4 * 4 * 4 * 30)
    assert count(Sized(Interpolation("nearest", 2)), x.requires_grad_(), [])[""] == Cost()


def test_unpooling_keeps_positions_and_no_maps() -> None:
    class Back(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, indices = max_pool(x)
            return max_unpool(y, indices, x.shape[2:])

    x = torch.zeros(2, 4, 5, 6, requires_grad=True)
    cost = count(Back(), x, [])[""]
    assert cost.macs == 0
    assert cost.activation_bytes == 4 * (4 * 30 + 8 * 9)  # the map, and an int64 for every maximum


class Sized(nn.Module):
    """Way up to twice the size."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.up = up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x, [2 * side for side in x.shape[2:]])
