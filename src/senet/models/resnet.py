"""ImageNet ResNets (He et al., 1512.03385) and ResNeXts (Xie et al., 1611.05431), plain or with SE (Hu et al., 1709.01507)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from senet.models.residual import BasicBlock, Bottleneck, ResidualUnit, conv
from senet.models.residual_net import ResidualNet
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_choice

STEM_POOLS = {
    "ceil": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    "pad": {"kernel_size": 3, "stride": 2, "padding": 1},
}
"""The release's max-pool (no padding, ceil mode) and torchvision's: same sizes at 224, windows shifted by one pixel."""


@dataclass(frozen=True)
class ResNetLayout:
    """Unit that a network repeats, how often in each stage, and further fields of the units' shape."""

    unit: type[ResidualUnit]
    counts: tuple[int, int, int, int]
    shape: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "resnet18": ResNetLayout(BasicBlock, (2, 2, 2, 2)),
    "resnet34": ResNetLayout(BasicBlock, (3, 4, 6, 3)),
    "resnet50": ResNetLayout(Bottleneck, (3, 4, 6, 3)),
    "resnet101": ResNetLayout(Bottleneck, (3, 4, 23, 3)),
    "resnet152": ResNetLayout(Bottleneck, (3, 8, 36, 3)),
}
GROUPED_VARIANTS = {
    "resnext50_32x4d": ResNetLayout(Bottleneck, (3, 4, 6, 3), {"groups": 32, "base_width": 4}),
    "resnext101_32x4d": ResNetLayout(Bottleneck, (3, 4, 23, 3), {"groups": 32, "base_width": 4}),
    "resnext101_64x4d": ResNetLayout(Bottleneck, (3, 4, 23, 3), {"groups": 64, "base_width": 4}),
}


class ImageNetResNet(ResidualNet):
    """Stem and max-pool to a quarter of the resolution, then stages 2-5 of residual units.

    Args:
        conv1: the stem up to its last convolution.
        width: channels of that.
        layout: the units.
        num_classes: width of the head.
        blocks: which unit gets which block.
        stem_pool: "ceil" (the official release) or "pad" (torchvision).
        v1_5: bottlenecks stride in the 3x3 convolution.
        zero_init_residual: see `ResidualNet`.
        dropout: see `Classifier`.
    """

    stage_names = {2: "layer1", 3: "layer2", 4: "layer3", 5: "layer4"}

    def __init__(
        self,
        conv1: nn.Module,
        width: int,
        layout: ResNetLayout,
        num_classes: int,
        blocks: UnitBlocks,
        *,
        stem_pool: str,
        v1_5: bool,
        zero_init_residual: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(zero_init_residual=zero_init_residual, dropout=dropout)
        check_choice("stem_pool", stem_pool, tuple(STEM_POOLS))
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(**STEM_POOLS[stem_pool])
        outputs = [planes * layout.unit.expansion for planes in (64, 128, 256, 512)]
        self.stack(layout.unit, layout.counts, width, outputs, blocks, stride=4, v1_5=v1_5, **layout.shape)
        self.fc = nn.Linear(outputs[-1], num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, width, H / 4, W / 4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))


class ResNet(ImageNetResNet):
    """ResNet-18/34/50/101/152: stem 7x7/2 with 64 channels.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        v1_5: bottlenecks stride in the 3x3 convolution (torchvision) instead of the first 1x1 (the paper).
        stem_pool: "ceil" (the official release) or "pad" (torchvision).
        zero_init_residual: see `ResidualNet`.
    """

    def __init__(
        self,
        layout: ResNetLayout,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        v1_5: bool = False,
        stem_pool: str = "ceil",
        zero_init_residual: bool = False,
    ) -> None:
        chosen = {"v1_5": v1_5, "stem_pool": stem_pool, "zero_init_residual": zero_init_residual}
        super().__init__(stem_convolution(in_channels), 64, layout, num_classes, blocks, **chosen)


class ResNeXt(ImageNetResNet):
    """ResNeXt-50/101: a ResNet of grouped bottlenecks, which stride in the 3x3 convolution.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        stem_pool: "ceil" (the official release) or "pad" (torchvision).
        zero_init_residual: see `ResidualNet`.
    """

    def __init__(
        self,
        layout: ResNetLayout,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        stem_pool: str = "ceil",
        zero_init_residual: bool = False,
    ) -> None:
        chosen = {"v1_5": True, "stem_pool": stem_pool, "zero_init_residual": zero_init_residual}
        super().__init__(stem_convolution(in_channels), 64, layout, num_classes, blocks, **chosen)


def stem_convolution(in_channels: int) -> nn.Conv2d:
    """Return the 7x7/2 convolution with 64 channels that ResNets begin with."""
    return conv(in_channels, 64, 7, 2)
