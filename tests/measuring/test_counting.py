"""Counts against formulas written down here, layer by layer, and against arithmetic on shapes."""

import pytest
import torch
from torch import nn

from senet import BlockSpec, create_model
from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.competitive import CompetitiveSE
from senet.blocks.spatial import SpatialSE
from senet.measuring.counting import Cost, count
from senet.measuring.parts import block_paths, unit_paths

WIDTHS, SIDES = (64, 128, 256, 512), (56, 28, 14, 7)
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def bottleneck_resnet_macs(counts: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions and the head at 224 x 224, stride in the first 1x1 (He et al., 1512.03385, Table 1)."""
    macs = 112 * 112 * 64 * 3 * 7 * 7 + 2048 * 1000
    inputs = 64
    for width, side, units in zip(WIDTHS, SIDES, counts, strict=True):
        outputs = 4 * width
        first = inputs * width + 9 * width * width + width * outputs + inputs * outputs
        other = outputs * width + 9 * width * width + width * outputs
        macs += side * side * (first + (units - 1) * other)
        inputs = outputs
    return macs


def se_macs(counts: tuple[int, ...], reduction: int = 16) -> tuple[int, int, int]:
    """Multiplications of the two FCs, of the scaling, and additions of the squeeze, of SE after each bottleneck (Hu et al., section 4)."""
    places = [(4 * width, side, units) for width, side, units in zip(WIDTHS, SIDES, counts, strict=True)]
    fc = sum(units * 2 * channels * (channels // reduction) for channels, _, units in places)
    maps = sum(units * channels * side * side for channels, side, units in places)
    return fc, maps, maps


def costs(model: nn.Module, *size: int) -> dict[str, Cost]:
    return count(model, torch.zeros(size), [*unit_paths(model), *block_paths(model)])


def total(model: nn.Module, *size: int) -> Cost:
    return sum(costs(model, *size).values(), Cost())


@pytest.mark.parametrize(
    ("name", "plain", "recalibrated"),
    [
        ("resnet50", 3_857_973_248, 3_866_007_552),
        pytest.param("resnet101", 7_570_194_432, 7_583_868_928, marks=pytest.mark.slow),
        pytest.param("resnet152", 11_282_415_616, 11_302_139_904, marks=pytest.mark.slow),
    ],
)
def test_resnets_count_as_in_the_paper(name, plain, recalibrated):
    fc, scaling, squeeze = se_macs(DEPTHS[name])
    assert bottleneck_resnet_macs(DEPTHS[name]) == plain
    assert plain + fc + scaling == recalibrated
    model = create_model(f"se_{name}")
    parts = costs(model, 1, 3, 224, 224)
    blocks = sum((parts[path] for path in block_paths(model)), Cost())
    whole = sum(parts.values(), Cost())
    assert (whole.macs, whole.squeeze_adds) == (recalibrated, squeeze)
    assert (blocks.macs, blocks.squeeze_adds) == (fc + scaling, squeeze)
    assert blocks.params == sum(p.numel() for path in block_paths(model) for p in model.get_submodule(path).parameters())
    assert whole.params == sum(p.numel() for p in model.parameters())


def test_resnet50_gains_0_21_percent():
    fc, scaling, _ = se_macs(DEPTHS["resnet50"])
    plain = bottleneck_resnet_macs(DEPTHS["resnet50"])
    assert f"{plain / 1e9:.2f} {(plain + fc + scaling) / 1e9:.2f} {(fc + scaling) / plain:.2%}" == "3.86 3.87 0.21%"


def test_no_squeeze_costs_what_table_16_prints():
    model = create_model("resnet50", block=BlockSpec("se", squeeze="none", bias=False))
    whole = total(model, 1, 3, 224, 224)
    fc_everywhere = sum(
        units * 2 * (4 * width) * (4 * width // 16) * side * side
        for width, side, units in zip(WIDTHS, SIDES, DEPTHS["resnet50"], strict=True)
    )
    assert fc_everywhere == 411_041_792  # 4.27 GFLOPs in the paper, without the scaling
    assert whole.macs == 3_857_973_248 + fc_everywhere + 5_519_360
    assert whole.squeeze_adds == 0


@pytest.mark.parametrize(
    ("layer", "size", "macs"),
    [
        (nn.Conv2d(8, 16, 3, padding=1, groups=4), (2, 8, 6, 5), 6 * 5 * 16 * 2 * 9),
        (nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8, bias=True), (3, 8, 6, 5), 6 * 5 * 8 * 3),
        (nn.Conv2d(8, 16, 3, stride=2, dilation=2), (1, 8, 11, 9), 4 * 3 * 16 * 8 * 9),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), (2, 8, 6, 5), 6 * 5 * 8 * 4 * 4),
        (nn.Conv1d(4, 6, 5), (2, 4, 12), 8 * 6 * 4 * 5),
        (nn.Linear(7, 3), (2, 7), 21),
        (nn.Linear(7, 3, bias=False), (2, 5, 7), 5 * 21),
        (nn.BatchNorm2d(8), (2, 8, 6, 5), 0),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_layers_count_one_per_multiplication(layer, size, macs, alone):
    assert total(layer if alone else nn.Sequential(nn.Identity(), layer), *size).macs == macs


@pytest.mark.parametrize(("squeeze", "adds", "fc"), [("avg", 240, 16), ("max", 240, 16), ("none", 0, 16 * 30)])
def test_a_block_alone(squeeze, adds, fc):
    whole = total(ChannelSE(8, hidden=1, squeeze=squeeze), 3, 8, 6, 5)
    assert (whole.macs, whole.squeeze_adds, whole.params) == (fc + 240, adds, 8 + 1 + 8 + 8)


C, H, W = 8, 6, 5
MAP = C * H * W


@pytest.mark.parametrize(
    ("block", "macs", "adds"),
    [
        (SpatialSE(C), 2 * MAP, 0),  # the 1x1 convolution to one channel, the scaling
        (ChannelSpatialSE(C, 2), (2 * C * 4 + MAP) + 2 * MAP, MAP),
        (ChannelSpatialSE(C, 2, combine="concat"), (2 * C * 4 + MAP) + 2 * MAP + 2 * C * MAP, MAP),
        (CompetitiveSE(C, 2), 2 * C * 4 + 2 * 4 * C + MAP, 2 * MAP),
        (CompetitiveSE(C, 2, variant="pair_2x1", maps=3), C * 1 * 3 * 2 + C * 4 + 4 * C + MAP, 2 * MAP),
    ],
)
def test_the_other_blocks(block, macs, adds):
    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.se = block

        def forward(self, x):
            return self.se(x, x) if isinstance(self.se, CompetitiveSE) else self.se(x)

    model = Unit()
    assert block_paths(model) == ["se"]
    cost = costs(model, 3, C, H, W)["se"]
    assert (cost.macs, cost.squeeze_adds) == (macs, adds)
    assert cost.params == sum(p.numel() for p in block.parameters())


def test_counts_are_per_image():
    model = create_model("se_preresnet20")
    one, four = (total(model, n, 3, 32, 32) for n in (1, 4))
    assert (one.macs, one.squeeze_adds, one.params) == (four.macs, four.squeeze_adds, four.params)


def test_saved_activations_of_conv_bn_relu():
    n, h, w = 4, 6, 5
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    parts = costs(model, n, 3, h, w)
    floats = {
        "0": n * 3 * h * w,
        "1": n * 8 * h * w + 2 * 8,
        "2": n * 8 * h * w,
    }  # the input; the convolution's output, mean and std; the output
    assert {path: cost.activation_bytes for path, cost in parts.items() if path} == {path: 4 * k // n for path, k in floats.items()}


def test_saved_activations_of_a_block():
    n, c, hidden, area = 4, 8, 2, 30
    floats = n * c * area + n * c + n * hidden + n * c  # the map, the squeezed channels, the bottleneck, the gate
    assert total(ChannelSE(c, hidden=hidden), n, c, 6, 5).activation_bytes == 4 * floats // n


def test_a_storage_that_two_layers_save_counts_once():
    class Twice(nn.Module):
        def forward(self, x):
            y = torch.sigmoid(x * x)
            return y * y

    # x and the sigmoid's output are each saved twice.
    assert total(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), Twice()), 2, 1, 4, 4).activation_bytes == 3 * 16 * 4


@pytest.mark.usefixtures("definition")
def test_the_measured_memory_of_cifar_resnet20():
    # 200.8 MB plain and 245.2 MB with SE at batch 128: measured once with an implementation of its own.
    plain, recalibrated = (
        total(create_model(name), 128, 3, 32, 32).activation_bytes * 128 for name in ("cifar_resnet20", "se_cifar_resnet20")
    )
    assert round(plain / 1e6, 1) == 200.8
    assert round(recalibrated / 1e6, 1) == 245.2


def test_counting_leaves_the_buffers_and_the_random_state():
    model = create_model("se_preresnet20")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    costs(model, 2, 3, 32, 32)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_shared_parameters_count_once():
    layer = nn.Linear(3, 3)
    whole = total(nn.Sequential(layer, nn.ReLU(), layer), 2, 3)
    assert (whole.params, whole.macs) == (12, 18)
