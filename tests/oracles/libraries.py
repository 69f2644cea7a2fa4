"""Networks of other libraries, and files of their weights: made by the library where it is installed, else by a namesake.

Namesakes are equal networks of another library that carry the names of the missing one, written here by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torchvision
from pytorchcv.model_provider import get_model
from safetensors.torch import save_file
from torch import Tensor, nn

from oracles.weights import blank, draw

Names = tuple[tuple[str, str], ...]

PROJECTION = r"(downsample\.1|identity_conv\.bn|project\.adn\.N)$"
LAST = (r"(layer\d\.\d+\.bn3|body\.conv3\.bn|\.conv3\.adn\.N|expand_bn3)$", r"(layer\d\.\d+\.bn2|body\.conv2\.bn)$")
"""BNs that end a branch of three convolutions, and of two."""


def oracle(library: str, name: str) -> nn.Module:
    """Make a library's network with weights that can be compared, in evaluation mode."""
    with torch.device("meta"):
        model = blank(MAKERS[library](name))
    last = next((pattern for pattern in LAST if any(re.search(pattern, path) for path, _ in model.named_modules())), "^$")
    return draw(model, last=last, projection=PROJECTION).eval()


def save_as(library: str, model: nn.Module, path: Path) -> Path:
    """Write a network's weights under the names, and in the wrapping, of a library's files; the suffix says in which format."""
    state = renamed(model.state_dict(), NAMES.get(library, ()))
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save({"meta": {"epoch": 3}, "state_dict": state} if library == "mmpretrain" else state, path)
    return path


def renamed(state: dict[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Apply regular expressions to every name, in turn."""
    result = {}
    for key, tensor in state.items():
        for pattern, replacement in names:
            key = re.sub(pattern, replacement, key)
        result[key] = tensor
    return result


def assert_equal_networks(want: nn.Module, got: nn.Module, *sizes: int) -> None:
    """Compare logits for square images in float64; the networks stay in that type, in evaluation mode."""
    want, got = want.double().eval(), got.double().eval()
    for size in sizes:
        x = torch.randn(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        with torch.inference_mode():
            first, second = want(x), got(x)
        assert 1e-2 < first.abs().max() < 1e4  # a comparison of vanishing or exploding logits would prove nothing
        error = (second - first).abs().max() / first.abs().max()
        assert error < 1e-12, f"{size} px: relative error {error:.1e}"


def from_pytorchcv(name: str) -> nn.Module:
    model = get_model(name)
    model.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own is fixed to the size of the training's images
    return model


def from_monai(name: str) -> nn.Module:
    from monai.networks import nets  # takes seconds

    return getattr(nets, name)(spatial_dims=2, in_channels=3, num_classes=1000)


def as_cadene(name: str) -> nn.Module:
    return timm.create_model(f"legacy_{name.replace('se_res', 'seres')}")


def as_mmpretrain(name: str) -> nn.Module:
    model = timm.create_model(name.removesuffix("_caffe").replace("-", "_"))
    if name.endswith("_caffe"):
        for unit in model.modules():
            if isinstance(unit, timm.models.resnet.Bottleneck):
                unit.conv1.stride, unit.conv2.stride = unit.conv2.stride, unit.conv1.stride
    return model


class SELayer(nn.Module):
    """The block of moskomule/senet.pytorch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = nn.Linear(channels, channels // 16, bias=False), nn.Linear(channels // 16, channels, bias=False)
        self.fc = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class CifarResNet(nn.Module):
    """A ResNet of torchvision's basic blocks for small images, with 1x1 projections."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        inputs = 16
        for stage, channels in enumerate((16, 32, 64), 1):
            blocks = nn.Sequential()
            for index in range(units):
                stride = 2 if stage > 1 and index == 0 else 1
                projection = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
                shortcut = projection if inputs != channels else None
                blocks.append(torchvision.models.resnet.BasicBlock(inputs, channels, stride, shortcut))
                inputs = channels
            self.add_module(f"layer{stage}", blocks)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def as_moskomule(name: str) -> nn.Module:
    depth = int(name.removeprefix("se_resnet"))
    model = CifarResNet((depth - 2) // 6) if depth in (20, 32, 56) else torchvision.models.get_model(f"resnet{depth}")
    for unit in list(model.modules()):
        if isinstance(unit, torchvision.models.resnet.BasicBlock | torchvision.models.resnet.Bottleneck):
            last = unit.bn3 if hasattr(unit, "bn3") else unit.bn2
            unit.se = SELayer(last.num_features)
            last.register_forward_hook(lambda _, __, out, se=unit.se: se(out))
    return model


MAKERS: dict[str, Callable[[str], nn.Module]] = {
    "timm": timm.create_model,
    "torchvision": torchvision.models.get_model,
    "pytorchcv": from_pytorchcv,
    "monai": from_monai,
    "cadene": as_cadene,
    "mmpretrain": as_mmpretrain,
    "moskomule": as_moskomule,
}
"""Library -> what makes its network NAME."""

NAMES: dict[str, Names] = {
    "mmpretrain": (
        (r"^fc\.", "head.fc."),
        (r"^(?!head)", "backbone."),
        (r"\.se\.fc1\.", ".se_layer.conv1.conv."),
        (r"\.se\.fc2\.", ".se_layer.conv2.conv."),
    ),
}
"""Library -> from the namesake's names to its own."""
