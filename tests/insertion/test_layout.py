"""Blocks recalibrate the features of a map, on whichever axis these are, and nothing else."""

import copy
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import senet
from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.plan import Site

WIDTH = 8


class LastAxis(nn.Module):
    """A residual unit on maps (N, H, W, C), as a network of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.unit = LastAxisUnit()
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))


class LastAxisUnit(nn.Module):
    """A depthwise convolution between two linear layers, added to its input (N, H, W, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, WIDTH)
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.fc1(x).movedim(-1, 1)).movedim(1, -1)
        return x + self.fc2(y)


class Unlabelled(nn.Module):
    """A map that no layer made, at a module of the user's."""

    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mix = Mixed(mix)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x))


class Mixed(nn.Module):
    """A function as a module."""

    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.mix = mix
        self.weight = nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,oc->nohw", self.mix(x), self.weight)


def timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: import_module("timm").create_model(name, **options)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, dict[str, Any], tuple[str, int, int, int]]] = {
    "own": (LastAxis, 16, {}, ("unit.fc2", 3, WIDTH, 1)),
    "mambaout": (timm("mambaout_femto", depths=(1, 1, 1, 1)), 64, {}, ("stages.0.blocks.0.fc2", 3, 48, 2)),
    "convnext": (timm("convnext_tiny", depths=(1, 1, 1, 1)), 64, {}, ("stages.0.blocks.0.mlp", 3, 96, 2)),
    "swin": (torchvision.models.swin_t, 64, {"at": r"features\.1\.0\.mlp"}, ("features.1.0.mlp", 3, 96, 2)),
    "vit": (
        timm("vit_tiny_patch16_224", img_size=64, depth=2),
        64,
        {"at": r"blocks\.\d\.mlp"},
        ("blocks.0.mlp", 2, 192, 4),
    ),
    "mixer": (
        timm("mixer_s32_224", img_size=64),
        64,
        {"at": r"blocks\.0\.(mlp_tokens|mlp_channels)"},
        ("blocks.0.mlp_tokens", 1, 512, 5),
    ),
    "before a layer": (torchvision.models.swin_t, 64, {"at": r"features\.1\.0\.mlp", "placement": "pre"}, ("features.1.0.mlp", 3, 96, 2)),
    "before the first layer": (torchvision.models.resnet18, 64, {"at": "conv1", "placement": "pre"}, ("conv1", 1, 3, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_features_are_recalibrated_and_nothing_else(name: str, tmp_path: Path) -> None:
    build, size, options, (path, axis, channels, stage) = NETWORKS[name]
    torch.manual_seed(0)
    model = build().eval()
    images = torch.randn(2, 3, size, size)
    before = model(images)
    example = {"example_input": images}
    plan = senet.find_sites(model, **options, **example)
    site = next(iter(plan))
    assert (site.path, site.axis, site.channels, site.stage) == (path, axis, channels, stage)
    done = senet.insert(model, senet.InsertPlan.from_json(plan.to_json()), init="identity", **example)
    torch.testing.assert_close(model(images), before, atol=1e-4, rtol=1e-4)
    assert_gates_features(model, site)
    senet.save_weights(model, tmp_path / "weights.safetensors", extra={"plan": done.to_dict()})
    torch.manual_seed(0)
    other = build().eval()
    senet.insert(other, senet.InsertPlan.from_json(done.to_json()), **example)
    senet.load_weights(other, tmp_path / "weights.safetensors")
    assert torch.equal(other(images), model(images))
    senet.remove(model)
    plain = build().eval()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(images), plain(images))


def assert_gates_features(model: nn.Module, site: Site) -> None:
    """Hold that a gate that is shut for one feature zeroes this feature, everywhere, and no other."""
    gated: Any = copy.deepcopy(model.get_submodule(site.path))
    assert isinstance(gated, Gated)
    sizes = [2, 7] if site.axis == 2 else [2, 7, 7]
    sizes.insert(site.axis, site.channels)
    with torch.no_grad():
        gated.se.fc2.bias[1] = -1e4
        features = gated.recalibrate(torch.ones(sizes)).movedim(site.axis, 0)
    assert [bool(feature.any()) for feature in features] == [index != 1 for index in range(site.channels)]
    assert (features != 0).sum() == features.numel() - features[1].numel()


def test_a_block_inside_a_rewritten_unit_recalibrates_the_last_axis() -> None:
    torch.manual_seed(0)
    model = LastAxis().eval()
    plan = senet.insert(model, senet.BlockSpec("se", reduction=2), placement="identity")
    (site,) = plan
    assert (site.path, site.position, site.axis, site.channels) == ("unit", "graph", 3, WIDTH)
    x = torch.randn(2, 6, 6, WIDTH)
    unit: Any = model.unit
    y = unit.fc2(unit.conv(unit.fc1(x).movedim(-1, 1)).movedim(1, -1))
    torch.testing.assert_close(unit(x), unit.se(x.movedim(-1, 1)).movedim(1, -1) + y)
    senet.remove(model)
    assert isinstance(model.unit, LastAxisUnit)


def test_a_competitive_block_weighs_maps_whose_features_come_last() -> None:
    torch.manual_seed(0)
    model = LastAxis().eval()
    (site,) = senet.insert(model, senet.BlockSpec("cmpe_se", reduction=2))
    assert (site.axis, site.channels) == (3, WIDTH)
    x = torch.randn(2, 6, 6, WIDTH)
    unit: Any = model.unit
    y = unit.fc2(unit.conv(unit.fc1(x).movedim(-1, 1)).movedim(1, -1))
    torch.testing.assert_close(unit(x), unit.se(y.movedim(-1, 1), x.movedim(-1, 1)).movedim(1, -1) + x)


def test_where_no_layer_says_it_the_axis_that_keeps_its_size_holds_the_features() -> None:
    model = Unlabelled(F.relu)
    (site,) = senet.insert(model, senet.BlockSpec("se", reduction=2), at="mix", example_input=torch.zeros(2, 3, 9, 11))
    assert (site.axis, site.channels) == (1, 4)


def test_an_axis_that_cannot_be_told_is_refused_in_one_line() -> None:
    model = Unlabelled(lambda x: x[:, :, :4, :4])
    with pytest.raises(
        UsageError, match=r"^which axis of the map \(2, 4, 4, 4\) behind mix holds its features cannot be told: "
    ) as refused:
        senet.insert(model, at="mix", example_input=torch.zeros(2, 3, 9, 11))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sides", [(16, 16), (16, 24)])
def test_stages_count_by_the_sides_of_the_map(sides: tuple[int, int]) -> None:
    plan = senet.find_sites(LastAxis(), example_input=torch.zeros(2, 3, *sides))
    assert [site.stage for site in plan] == [1]


def test_optimised_and_exported_networks_keep_the_blocks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LastAxis().eval()
    senet.insert(model, senet.BlockSpec("se", reduction=2))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(senet.optimize(model)(images), model(images))
    report = senet.export_onnx(model, tmp_path / "model.onnx", images)
    assert all(check.error < 1e-4 for check in report.checks)


def test_places_of_several_maps_that_are_joined_are_no_channels() -> None:
    class Boxes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.far = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([layer(x).flatten(2).transpose(1, 2) for layer in (self.near, self.far)], 1).exp()

    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), Boxes(), nn.Linear(4, 4))
    plan = senet.find_sites(net, example_input=torch.randn(2, 3, 16, 16))
    assert [(site.path, site.kind) for site in plan] == [("1", "chain")]
