import json
from dataclasses import replace
from io import StringIO

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import senet
from senet import create_model
from senet.blocks.channel import ChannelSE
from senet.errors import UsageError
from senet.measuring.counting import Cost
from senet.measuring.timing import Ratio, Timing
from senet.profiling import Profile, profile, profiler
from senet.profiling.profiler import total_cost


@pytest.fixture(scope="module")
def small() -> Profile:
    return profile(create_model("se_preresnet20"), rounds=3, max_seconds=0.5)


@pytest.fixture(scope="module")
def se_resnet50() -> Profile:
    return profile(create_model("se_resnet50"), latency=False)


def printed(result: Profile, width: int) -> list[str]:
    text = StringIO()
    Console(file=text, width=width).print(result.table())
    return text.getvalue().splitlines()


def test_the_cost_of_the_whole_is_counted_alone(se_resnet50):
    cost = total_cost(create_model("se_resnet50"), (1, 3, 224, 224))
    assert (cost.params, cost.macs, cost.squeeze_adds) == (se_resnet50.params, se_resnet50.macs, se_resnet50.squeeze_adds)
    assert cost.activation_bytes == 0
    with pytest.raises(UsageError, match="cannot run Linear on a batch of images"):
        total_cost(nn.Linear(3, 2), (1, 3, 8, 8))


class OfNumbers(nn.Module):
    """Network that asks for the values of its images, and in training for targets."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 1)

    def forward(self, x, targets=None):
        if self.training:
            raise ValueError("no targets")
        return self.inner(x[x.mean((1, 2, 3)) < 9])


def test_the_cost_of_the_whole_asks_for_no_training_and_no_meta_device(caplog):
    network = OfNumbers()
    assert total_cost(network, (1, 3, 8, 8)) == Cost(16, 3 * 4 * 64)
    assert network.training
    assert caplog.records == []


def test_se_resnet50_is_the_papers(se_resnet50):
    assert se_resnet50.input_size == (1, 3, 224, 224)
    assert (se_resnet50.params, se_resnet50.macs, se_resnet50.squeeze_adds) == (28_088_024, 3_866_007_552, 5_519_360)
    plain = se_resnet50.plain
    assert plain is not None
    assert (plain.name, plain.params, plain.macs, plain.squeeze_adds) == ("resnet50", 25_557_032, 3_857_973_248, 0)
    assert se_resnet50.share.params == 2_530_992
    assert se_resnet50.ratios["macs"] == 3_866_007_552 / 3_857_973_248
    assert "latency" not in se_resnet50.ratios
    lines = printed(se_resnet50, 80)
    assert any(line.startswith("total") and "28,088,024  3.87 G" in line for line in lines)
    assert any(line.startswith("of it SE") and "0.21%" in line for line in lines)
    assert any(line.startswith("resnet50") and "25,557,032  3.86 G" in line for line in lines)
    assert any(line.startswith("ratio") and "1.0990  1.0021" in line for line in lines)


class Counted(nn.Module):
    """Layer that notes on which device it is called, in its copies too."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls

    def __deepcopy__(self, memo: object) -> "Counted":
        return Counted(self.calls)

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(x.device.type)
        return x


def test_few_rounds_of_long_passes_are_said(monkeypatch):
    monkeypatch.setattr(profiler, "LONG_CALL", 0.0)
    calls = []
    result = profile(nn.Sequential(nn.Conv2d(3, 4, 3), Counted(calls)), (1, 3, 8, 8), rounds=5, max_seconds=0.0)
    assert result.latency is not None
    assert result.latency.rounds == 1
    assert calls.count("cpu") == 4  # a first call, there and back, and the parts
    long = replace(result, latency=Timing((2.5,), (2.5,)))
    assert "A pass takes 2.5 s: ms are of 1 round of timing." in " ".join(" ".join(printed(long, 300)).split())
    assert "A pass takes" not in " ".join(printed(result, 300))


def test_the_public_name_is_this_function():
    assert senet.profile is profile


def test_rows_add_up(small):
    assert sum((row.cost for row in small.blocks), Cost()) == Cost(small.params, small.macs, small.squeeze_adds, small.activation_bytes)
    assert [row.path for row in small.blocks][-2:] == ["fc", ""]
    with_blocks = [row for row in small.blocks if row.share != Cost()]
    assert [row.kind for row in with_blocks] == ["PreactivatedBasicBlock"] * 9
    assert all(row.share.macs < row.cost.macs and row.share.params < row.cost.params for row in with_blocks)


def test_latency_of_network_twin_and_parts(small):
    assert small.latency.rounds == small.plain.latency.rounds == 3
    assert 0 < small.latency.low <= small.latency.median <= small.latency.high
    ratio = small.ratios["latency"]
    assert isinstance(ratio, Ratio)
    assert ratio.median > 0.8  # nine more blocks cannot make it quicker
    assert all(isinstance(row.latency, Timing) and row.latency.rounds == 3 for row in small.blocks)
    parts = {row.path: row for row in small.blocks}
    assert 0 < parts["layer1.0"].share_latency.median < parts["layer1.0"].latency.median
    assert parts["fc"].share_latency.median == 0
    assert 0 < small.latency_share < 0.9
    assert small.plain.latency_share == 0


def test_results_are_ready_for_json(small):
    tree = json.loads(json.dumps(small.to_dict(), allow_nan=False))
    assert tree["input_size"] == [1, 3, 32, 32]
    assert tree["macs"] == small.macs
    assert tree["latency"]["median"] == small.latency.median
    assert tree["plain"]["name"] == "preresnet20"
    assert set(tree["ratios"]) == {"params", "macs", "activation_bytes", "latency"}
    assert tree["blocks"][1]["path"] == "layer1.0"
    assert tree["blocks"][1]["share"]["macs"] == small.blocks[1].share.macs


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_a_terminal(small, width):
    lines = printed(small, width)
    assert "se_preresnet20, 1x3x32x32 float32, cpu" in lines[0]
    assert not any("…" in line for line in lines)
    assert len([line for line in lines if line.startswith(("layer1", "layer2", "layer3"))]) == 9  # no row takes two lines


def test_a_plain_network_has_no_twin():
    result = profile(create_model("preresnet20"), latency=False)
    assert result.plain is None
    assert result.ratios == {}
    assert result.share == Cost()
    assert "plain" not in result.to_dict()


def test_any_module_with_a_size():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), ChannelSE(8, 4), nn.Flatten(), nn.Linear(8 * 16, 2))
    result = profile(model, (2, 3, 6, 6), rounds=1)
    assert (result.name, result.plain) == ("Sequential", None)
    assert result.macs == 16 * 8 * 27 + (8 * 2 * 2 + 8 * 16) + 8 * 16 * 2
    assert {row.path: row.share.macs for row in result.blocks if row.share.macs} == {"2": 8 * 2 * 2 + 8 * 16}


def test_the_twin_shares_options_that_are_not_the_blocks():
    model = create_model("se_resnet18", num_classes=7, in_channels=1, stages=(3,), placement="pre", reduction=8, stem_pool="pad")
    result = profile(model, (1, 1, 32, 32), latency=False)
    assert result.plain.params == sum(p.numel() for p in create_model("resnet18", num_classes=7, in_channels=1).parameters())
    assert {row.path for row in result.blocks if row.share.macs} == {"layer2.0", "layer2.1"}


def test_a_network_with_a_rule_has_a_twin_too():
    model = create_model("preresnet20", block=lambda stage, index, channels: senet.BlockSpec("se") if index == 1 else None)
    assert profile(model, latency=False).plain.params == 272_282


def test_type_and_layout_are_the_models():
    model = create_model("se_preresnet20").to(torch.float64, memory_format=torch.channels_last)
    seen: list[torch.Tensor] = []
    model.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    result = profile(model, (2, 3, 16, 16), latency=False)
    assert result.dtype == "float64"
    assert len(seen) == 2
    assert all(x.dtype == torch.float64 and x.is_contiguous(memory_format=torch.channels_last) for x in seen)
    reference = profile(create_model("se_preresnet20"), (2, 3, 16, 16), latency=False)
    assert result.macs == reference.macs
    assert result.activation_bytes == 2 * reference.activation_bytes


def test_the_model_is_left_as_it_was():
    model = create_model("se_preresnet20").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    profile(model, (2, 3, 16, 16), rounds=1)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_status_tells_the_steps():
    steps: list[str] = []
    profile(create_model("se_preresnet20"), (1, 3, 8, 8), rounds=1, status=steps.append)
    assert steps == ["timing the network and its plain twin, in turn", "measuring the parts"]


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (nn.Conv2d(3, 4, 1), None, "Conv2d does not say its input size"),
        (nn.Conv2d(3, 4, 1), (1, 3, 0, 4), r"each at least 1, got \(1, 3, 0, 4\)"),
        (nn.Conv2d(3, 4, 1), (3,), r"input_size must be \(N, C, H, W\)"),
    ],
)
def test_wrong_sizes_are_one_line(model, size, message):
    with pytest.raises(UsageError, match=message):
        profile(model, size)


class Detector(nn.Module):
    """A network that trains on images with targets only, as torchvision's detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.se = ChannelSE(8)

    def forward(self, images: Tensor, targets: object = None) -> list[dict[str, Tensor]]:
        assert not self.training or targets is not None, "targets should not be none when in training mode"
        return [{"boxes": row} for row in self.se(self.conv(images))]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_trains_on_more_than_images(training: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = Detector().train(training)
    found = profile(model, (1, 3, 8, 8), latency=False)
    plain = profile(nn.Sequential(model.conv, model.se).eval(), (1, 3, 8, 8), latency=False)
    assert (found.macs, found.params, found.activation_bytes) == (plain.macs, plain.params, plain.activation_bytes)
    assert "Detector does not train on images alone (AssertionError: targets should not be none" in caplog.text
    assert model.training is training


@pytest.mark.parametrize(
    ("model", "reason"),
    [(nn.Conv2d(4, 8, 3), "RuntimeError: .*channels"), (nn.Bilinear(2, 2, 2), "TypeError: .*missing 1 required positional argument")],
)
@pytest.mark.parametrize("latency", [False, True])
def test_a_network_that_does_not_take_such_images(model: nn.Module, reason: str, latency: bool) -> None:
    with pytest.raises(UsageError, match=rf"cannot run \w+ on a batch of images \(1, 3, 8, 8\) \({reason}") as raised:
        profile(model, (1, 3, 8, 8), latency=latency, rounds=1)
    assert "\n" not in str(raised.value)
