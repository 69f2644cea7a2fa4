"""What reaches the output with no layer between is the network's answer and gets no gate; the features of a backbone keep theirs."""

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import senet
from foreign.networks import DoubleConv, UNet
from senet.errors import UsageError


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def rectified(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


def separable(outputs: int) -> nn.Sequential:
    return nn.Sequential(conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU6(), conv(8, outputs, 1))


class Residual(nn.Module):
    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.a, self.b = conv(channels, channels), conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(self.a(x).relu())


class Then(nn.Module):
    """Layers, and a function of their result."""

    def __init__(self, layers: nn.Module, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layers, self.function = layers, function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.layers(x))


class Restorer(nn.Module):
    """A network that adds to its image, as DnCNN and VDSR do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(rectified(3, 8), rectified(8, 8), conv(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.net(x)


class SumOfLogits(nn.Module):
    """Logits of two strides, summed up and enlarged, as in FCN-8s."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = rectified(3, 8), rectified(8, 8)
        self.score1, self.score2 = conv(8, 5, 1), conv(8, 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = F.max_pool2d(self.first(x), 2)
        coarse = F.max_pool2d(self.second(fine), 2)
        return {"out": F.interpolate(self.score1(fine) + F.interpolate(self.score2(coarse), scale_factor=2), scale_factor=2)}


class Supervised(UNet):
    """A U-Net with probabilities, and logits of a lower stage beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.deep = nn.Sequential(conv(8, 2, 1), nn.Sigmoid()), separable(2)
        self.narrow = conv(16, 8, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        up = self.up1(self.bottom(F.max_pool2d(x2, 2)), x2)
        return [self.head(self.up2(up, x1)), F.interpolate(self.deep(self.narrow(up)), scale_factor=2)]


class Heads(nn.Module):
    """Offsets and scores of two maps, reshaped and joined, as in SSD."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.more = rectified(3, 8), rectified(8, 8)
        self.heads = nn.ModuleList(separable(outputs) for outputs in (16, 12, 16, 12))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = (self.trunk(x), self.more(F.max_pool2d(self.trunk(x), 2)))
        rows = [head(maps[index // 2]).permute(0, 2, 3, 1).flatten(1) for index, head in enumerate(self.heads)]
        return {"offsets": torch.cat(rows[::2], 1).view(len(x), -1, 4), "scores": torch.cat(rows[1::2], 1).view(len(x), -1, 3)}


IMAGE = (rectified(3, 8), rectified(8, 8), conv(8, 3))
ANSWERS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "image behind tanh": (lambda: nn.Sequential(*IMAGE, nn.Tanh()), ["0.2", "1.2"]),
    "mask behind sigmoid": (lambda: nn.Sequential(*IMAGE, nn.Sigmoid()), ["0.2", "1.2"]),
    "image behind a function": (lambda: Then(nn.Sequential(*IMAGE), torch.tanh), ["layers.0.2", "layers.1.2"]),
    "normalised image": (lambda: nn.Sequential(*IMAGE, nn.BatchNorm2d(3), nn.Tanh()), ["0.2", "1.2"]),
    "resized probabilities": (
        lambda: Then(nn.Sequential(*IMAGE), lambda y: F.interpolate(y, scale_factor=2).softmax(1)),
        ["layers.0.2", "layers.1.2"],
    ),
    "generator": (
        lambda: nn.Sequential(conv(3, 8), nn.ReLU(), Residual(), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU(), conv(8, 3), nn.Tanh()),
        ["4", "2.b"],
    ),
    "last enlargement": (
        lambda: nn.Sequential(rectified(3, 8), nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 3, 2, 2), nn.Tanh()),
        ["2"],
    ),
    "residual image": (Restorer, ["net.0.2", "net.1.2"]),
    "sums of logits": (SumOfLogits, ["first.2", "second.2"]),
    "boxes and scores": (
        lambda: nn.Sequential(conv(3, 3), Heads()),
        ["1.trunk.2", "1.more.2", *(f"1.heads.{head}.2" for head in range(4))],
    ),
    "probabilities and deep supervision": (Supervised, ["inc.5", "down1.5", "up1.conv.5", "up2.conv.5"]),
}


@pytest.mark.parametrize(("build", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_answers_get_no_gates(build: Callable[[], nn.Module], expected: list[str]) -> None:
    plan = senet.find_sites(build(), senet.BlockSpec("se", hidden=4))
    assert [site.path if site.position == "output" else f"before {site.path}" for site in plan] == expected


@pytest.mark.parametrize(
    "name", ["lraspp_mobilenet_v3_large", pytest.param("ssdlite320_mobilenet_v3_large", marks=pytest.mark.slow)], ids=["lraspp", "ssdlite"]
)
def test_heads_of_torchvision_get_no_gates(name: str) -> None:
    plan = senet.find_sites(torchvision.models.get_model(name, weights=None, weights_backbone=None))
    assert [site.path for site in plan if not site.path.startswith("backbone.")] == []


FEATURES: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "units without norm": (lambda: nn.Sequential(conv(3, 8), Residual(), Residual()), 2, "2.b"),
    "one unit": (lambda: Residual(16), 1, "b"),
    "one unit on an image": (lambda: torchvision.models.resnet.BasicBlock(3, 3), 1, "bn2"),
    "chains": (lambda: nn.Sequential(DoubleConv(3, 8), nn.MaxPool2d(2), DoubleConv(8, 16)), 4, "2.5"),
    "separable": (lambda: nn.Sequential(conv(3, 8), *separable(8), nn.ReLU6()), 1, "5"),
    "separable, norm last": (lambda: nn.Sequential(conv(3, 8), *separable(8), nn.BatchNorm2d(8)), 1, "5"),
    "vgg": (lambda: torchvision.models.vgg11().features, 8, "19"),
    "densenet": (lambda: torchvision.models.densenet121().features, 58, "denseblock4.denselayer16"),
    "mobilenet": (lambda: torchvision.models.mobilenet_v2().features, 17, "17.conv.3"),
    "pyramid": (lambda: resnet_fpn_backbone(backbone_name="resnet18", weights=None), 8, "body.layer4.1.bn2"),
    "timm mobilenet": (lambda: timm.create_model("mobilenetv2_050", features_only=True), 17, "blocks.6.0.bn3"),
    "timm convnext": (lambda: timm.create_model("convnext_atto", features_only=True), 12, "stages_3.blocks.1.mlp"),
    "smp encoder": (lambda: smp.Unet("vgg11", encoder_weights=None).encoder, 8, "features.19"),
    "own features": (lambda: senet.create_model("vgg11_bn", features_only=True), 8, "network.features.27"),
}


@pytest.mark.parametrize(("build", "count", "last"), FEATURES.values(), ids=FEATURES)
def test_features_keep_the_sites_of_their_last_stage(build: Callable[[], nn.Module], count: int, last: str) -> None:
    with torch.device("meta"):
        model = build()
    lone = torch.zeros(1, 16, 8, 8) if isinstance(model, Residual) else None
    plan = senet.find_sites(model, example_input=lone)
    assert (len(plan), plan.sites[-1].path) == (count, last)


def test_a_network_of_nothing_but_its_answer_says_so() -> None:
    with pytest.raises(UsageError, match="found no site in Sequential: what 1 of its units give is its output; name modules with at="):
        senet.find_sites(nn.Sequential(conv(3, 3), nn.Tanh()))
    assert len(senet.find_sites(nn.Sequential(conv(3, 3), nn.Tanh()), at="0")) == 1
