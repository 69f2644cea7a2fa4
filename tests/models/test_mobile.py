"""MobileNet and ShuffleNet, the papers' small networks: where blocks sit, what units compute, what they cost."""

import pytest
import torch
from torch import nn

from senet import BlockSpec, create_model, list_models, profile
from senet.errors import UsageError

NAMES = ("mobilenet", "shufflenet_g3")


def test_mobilenet_recalibrates_behind_each_pointwise_convolution() -> None:
    seen = []
    create_model("mobilenet", device="meta", block=lambda *unit: seen.append(unit))
    widths = {1: (64,), 2: (128, 128), 3: (256, 256), 4: (512,) * 6, 5: (1024, 1024)}
    assert seen == [(stage, index, width) for stage, units in widths.items() for index, width in enumerate(units, 1)]
    torch.manual_seed(0)
    unit = create_model("se_mobilenet").eval().layer2[0]
    x = torch.randn(2, 64, 9, 7)
    u = torch.relu(unit.bn1(nn.functional.conv2d(x, unit.conv1.weight, stride=2, padding=1, groups=64)))
    torch.testing.assert_close(unit(x), unit.se(torch.relu(unit.bn2(nn.functional.conv2d(u, unit.conv2.weight)))))


@pytest.mark.parametrize(("groups", "width"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_widths_of_shufflenet(groups: int, width: int) -> None:
    model = create_model(f"shufflenet_g{groups}", device="meta")
    assert list(model.stages) == [2, 3, 4]
    assert [len(stage) for stage in model.stages.values()] == [4, 8, 4]
    assert [info["channels"] for info in model.feature_info] == [width, 2 * width, 4 * width]
    assert [model.layer1[0].conv1.groups, model.layer1[1].conv1.groups, model.layer2[0].conv1.groups] == [1, groups, groups]
    assert model.layer1[0].conv1.out_channels == width // 4


def test_shufflenet_recalibrates_the_branch_only() -> None:
    seen = []
    create_model("shufflenet_g3", device="meta", block=lambda *unit: seen.append(unit))
    assert [channels for _, index, channels in seen if index == 1] == [216, 240, 480]
    assert [channels for _, index, channels in seen if index == 2] == [240, 480, 960]
    assert len(seen) == 16


@pytest.mark.parametrize("index", [0, 1], ids=["stride 2", "stride 1"])
def test_shuffle_units_compute_what_they_say(index: int) -> None:
    torch.manual_seed(0)
    unit = create_model("se_shufflenet_g3").double().eval().layer2[index]
    channels = 240 if index == 0 else 480
    x = torch.randn(2, channels, 9, 7, dtype=torch.float64)
    u = torch.relu(unit.bn1(unit.conv1(x)))
    mixed = torch.stack([u[:, 40 * group + channel] for channel in range(40) for group in range(3)], 1)  # one of each group in turn
    u = unit.se(unit.bn3(unit.conv3(unit.bn2(unit.conv2(mixed)))))
    pooled = nn.functional.conv2d(x, torch.full((channels, 1, 3, 3), 1 / 9, dtype=x.dtype), stride=2, padding=1, groups=channels)
    want = torch.relu(torch.cat((u, pooled), 1)) if index == 0 else torch.relu(u + x)
    torch.testing.assert_close(unit(x), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "plain", "recalibrated"), [("mobilenet", 568.74, 571.93), ("shufflenet_g3", 137.46, 139.68)])
def test_operations_of_table_3(name: str, plain: float, recalibrated: float) -> None:
    """The paper prints 569 and 572 for MobileNet, 140 and 142 for ShuffleNet, where ShuffleNet's own paper prints 137."""
    assert profile(create_model(name, device="meta"), latency=False).macs / 1e6 == pytest.approx(plain, abs=0.005)
    with_block = create_model(name, block=BlockSpec("se", bias=False), device="meta")
    assert profile(with_block, latency=False).macs / 1e6 == pytest.approx(recalibrated, abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_depthwise_convolutions_are_drawn_by_the_channels_they_see(name: str) -> None:
    torch.manual_seed(0)
    weight = next(m.weight for m in reversed(list(create_model(name).modules())) if isinstance(m, nn.Conv2d) and m.groups == m.in_channels)
    assert weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["sse", "scse"])
def test_other_blocks_and_odd_images(name: str, kind: str) -> None:
    model = create_model(f"{kind}_{name}", num_classes=3, in_channels=1).eval()
    assert model(torch.randn(1, 1, 45, 61)).shape == (1, 3)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_an_option(name: str) -> None:
    assert create_model(name, device="meta").dropout == 0
    assert create_model(name, device="meta", dropout=0.1).dropout == 0.1


@pytest.mark.parametrize("name", NAMES)
def test_prefixes_are_those_of_networks_without_shortcuts(name: str) -> None:
    assert list_models(f"*{name}") == [name, f"se_{name}", f"sse_{name}", f"scse_{name}"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("se_mobilenet", {"placement": "pre"}, "takes the placement standard only, got 'pre'"),
        ("se_mobilenet", {"stages": (6,)}, "its stages are 1, 2, 3, 4, 5"),
        ("se_shufflenet_g3", {"placement": "identity"}, "takes the placement standard only, got 'identity'"),
        ("se_shufflenet_g3", {"stages": (5,)}, "its stages are 2, 3, 4"),
        ("shufflenet_g3", {"block": "cmpe_se"}, "use 'se'"),
        ("shufflenet_g5", {}, "unknown model 'shufflenet_g5'"),
    ],
)
def test_impossible_requests_say_what_is_allowed(name: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(name, device="meta", **options)
