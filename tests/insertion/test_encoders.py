"""A plain encoder and decoder get blocks in both halves, however the skips go from one to the other."""

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import senet
from senet.surgery.arguments import tensors

WIDTHS = (8, 16, 32)


def stage(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.InstanceNorm2d(outputs, affine=True), nn.LeakyReLU())


class Stacked(nn.Module):
    """Two stages called in a forward of its own."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convs = nn.Sequential(stage(inputs, outputs, stride), stage(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class SharedActivation(nn.Module):
    """A stage whose activation is a function, or a module that all stages share."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class ListEncoder(nn.Module):
    """Stages that stride, and a list of their maps (nnU-Net)."""

    def __init__(self, make: Callable[[int, int, int], nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(make(i, o, 1 if i == 3 else 2) for i, o in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for part in self.stages:
            x = part(x)
            maps.append(x)
        return maps


class ListDecoder(nn.Module):
    """Transposed convolutions, joints with the maps of a list, and logits of the last stage or of all."""

    def __init__(self, *, all_stages: bool) -> None:
        super().__init__()
        pairs = ((32, 16), (16, 8))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.stages = nn.ModuleList(Stacked(2 * o, o) for _, o in pairs)
        self.logits = nn.ModuleList(nn.Conv2d(o, 2, 1) for _, o in pairs)
        self.all_stages = all_stages

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        x, answers = maps[-1], []
        for index, (up, part, logits) in enumerate(zip(self.ups, self.stages, self.logits, strict=True)):
            x = part(torch.cat((up(x), maps[-(index + 2)]), 1))
            answers.append(logits(x))
        return answers[::-1] if self.all_stages else answers[-1:]


class Listed(nn.Module):
    def __init__(self, make: Callable[[int, int, int], nn.Module] = Stacked, *, all_stages: bool = False) -> None:
        super().__init__()
        self.encoder, self.decoder = ListEncoder(make), ListDecoder(all_stages=all_stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.decoder(self.encoder(x))


class DictEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = stage(3, 8), stage(8, 16, 2), stage(16, 32, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.a(x)
        middle = self.b(fine)
        return {"fine": fine, "middle": middle, "deep": self.c(middle)}


class DictDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x, self.y, self.head = stage(48, 16), stage(24, 8), nn.Conv2d(8, 2, 1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        x = self.x(torch.cat([F.interpolate(maps["deep"], size=maps["middle"].shape[-2:]), maps["middle"]], 1))
        return self.head(self.y(torch.cat([F.interpolate(x, size=maps["fine"].shape[-2:]), maps["fine"]], 1)))


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = DictEncoder(), DictDecoder()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.decoder(self.encoder(x))}


class Stack(nn.Module):
    """Skips pushed to a list and popped from it, with pools between."""

    def __init__(self) -> None:
        super().__init__()
        self.downs = nn.ModuleList(stage(i, o) for i, o in ((3, 8), (8, 16), (16, 32)))
        self.ups = nn.ModuleList(stage(i, o) for i, o in ((48, 16), (24, 8)))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for index, down in enumerate(self.downs):
            x = down(x)
            if index < 2:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for up in self.ups:
            x = up(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], 1))
        return self.head(x)


class Nested(nn.Module):
    """A joint around all that lies below (MONAI)."""

    def __init__(self, below: nn.Module) -> None:
        super().__init__()
        self.below = below

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.below(x)], 1)


def nested() -> nn.Module:
    up = nn.Sequential(nn.ConvTranspose2d(16, 8, 2, 2), nn.InstanceNorm2d(8), nn.PReLU())
    return nn.Sequential(stage(3, 8, 2), Nested(nn.Sequential(stage(8, 16, 2), up)), nn.ConvTranspose2d(16, 2, 2, 2))


class Unpooled(nn.Module):
    """No skips but the places of the maxima (SegNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.head = stage(3, 8), stage(8, 16), stage(16, 8), stage(8, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, first = F.max_pool2d(self.a(x), 2, return_indices=True)
        x, second = F.max_pool2d(self.b(x), 2, return_indices=True)
        return self.head(self.d(F.max_unpool2d(self.c(F.max_unpool2d(x, second, 2)), first, 2)))


def autoencoder() -> nn.Module:
    ups = (layer for i, o in ((32, 16), (16, 8)) for layer in (nn.ConvTranspose2d(i, o, 2, 2), nn.ReLU()))
    return nn.Sequential(stage(3, 8), stage(8, 16, 2), stage(16, 32, 2), *ups, nn.Conv2d(8, 3, 1), nn.Sigmoid())


RELU = nn.ReLU()
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], tuple[str, ...]]] = {
    "list": (Listed, ("encoder.stages.0", "encoder.stages.1"), ("decoder.stages.0", "decoder.stages.1")),
    "list, deep supervision": (
        lambda: Listed(all_stages=True),
        ("encoder.stages.0", "encoder.stages.1"),
        ("decoder.stages.0", "decoder.stages.1"),
    ),
    "list of chains": (lambda: Listed(stage), ("encoder.stages.0.2", "encoder.stages.1.2"), ("decoder.stages.0", "decoder.stages.1")),
    "functional activation": (
        lambda: Listed(lambda i, o, s: SharedActivation(i, o, s, F.relu)),
        ("encoder.stages.0", "encoder.stages.1"),
        ("decoder.stages.0", "decoder.stages.1"),
    ),
    "shared activation": (
        lambda: Listed(lambda i, o, s: SharedActivation(i, o, s, RELU)),
        ("encoder.stages.0", "encoder.stages.1"),
        ("decoder.stages.0", "decoder.stages.1"),
    ),
    "dictionary": (Mapped, ("encoder.a.2", "encoder.b.2"), ("decoder.x.2", "decoder.y.2")),
    "stack": (Stack, ("downs.0.2", "downs.1.2"), ("ups.0.2", "ups.1.2")),
    "nested": (nested, ("0.2",), ("1.below.1.2",)),
    "places of maxima": (Unpooled, ("a.2", "b.2"), ("c.2", "d.2")),
    "no skips": (autoencoder, ("0.2", "1.2"), ("4", "6")),
    "smp, VGG": (
        lambda: smp.Unet("vgg11", encoder_depth=3, decoder_channels=(32, 16, 8), encoder_weights=None),
        ("encoder.features.4", "encoder.features.9"),
        tuple(f"decoder.blocks.{index}.conv2.2" for index in range(3)),
    ),
}


def outputs(model: nn.Module, x: Tensor) -> list[Any]:
    with torch.no_grad():
        return tensors(model(x))


@pytest.mark.parametrize(("build", "encoder", "decoder"), NETWORKS.values(), ids=NETWORKS)
def test_both_halves_get_blocks(build: Callable[[], nn.Module], encoder: tuple[str, ...], decoder: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(2, 3, 32, 32)
    before = outputs(model, x)
    plan = senet.insert(model, init="identity")
    found = {kind: tuple(sorted(site.path for site in plan if site.kind == kind)) for kind in ("encoder", "decoder")}
    assert found == {"encoder": encoder, "decoder": decoder}
    assert len(plan) == len(encoder) + len(decoder)
    assert plan.notes == ()
    torch.testing.assert_close(outputs(model, x), before)
    senet.remove(model)
    assert all(torch.equal(one, other) for one, other in zip(outputs(model, x), before, strict=True))


def test_an_encoder_of_residual_units_keeps_those_alone() -> None:
    plan = senet.find_sites(smp.Unet("resnet18", encoder_weights=None))
    assert {site.kind for site in plan if site.path.startswith("encoder.")} == {"residual"}


@pytest.mark.parametrize(
    ("build", "stages"),
    [
        (Listed, {"encoder": [1, 2], "decoder": [4, 5]}),
        (lambda: smp.FPN("resnet18", encoder_weights=None), {"residual": [2, 2, 3, 3, 4, 4, 5, 5], "decoder": [7, 8, 9]}),
    ],
    ids=["full size", "pyramid"],
)
def test_decoder_blocks_are_numbered_on_from_the_encoders(build: Callable[[], nn.Module], stages: dict[str, list[int]]) -> None:
    plan = senet.find_sites(build())
    assert {kind: sorted(site.stage for site in plan if site.kind == kind) for kind in stages} == stages
