"""ImageNet ResNets (He et al., 1512.03385), ResNeXts (Xie et al., 1611.05431) and SENet-154 (Hu et al., 1709.01507), plain or with SE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from senet.models.residual import BasicBlock, Bottleneck, ResidualUnit, conv
from senet.models.residual_net import ResidualNet
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import activated_norm
from senet.ops.tail.layers import Layers
from senet.spec import check_choice

STEM_POOLS = {
    "ceil": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    "pad": {"kernel_size": 3, "stride": 2, "padding": 1},
}
"""The release's max-pool (no padding, ceil mode) and torchvision's: same sizes at 224, windows shifted by one pixel."""


def single_convolution(in_channels: int, width: int) -> nn.Module:
    """Return the 7x7/2 convolution that ResNets begin with."""
    return conv(in_channels, width, 7, 2)


def three_convolutions(in_channels: int, width: int) -> nn.Module:
    """Return the 3x3/2 and two 3x3 convolutions that SENet-154 begins with; the first two have half the width, BN and ReLU."""
    half = width // 2
    first = (conv(in_channels, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU())
    return Layers(*first, conv(half, half, 3), nn.BatchNorm2d(half), nn.ReLU(), conv(half, width, 3))


@dataclass(frozen=True)
class ResNetLayout:
    """Units and stem of a network.

    Args:
        unit: the residual unit that it repeats.
        counts: how often in each stage.
        shape: further fields of the units' shape.
        stem: makes the stem up to its last convolution, from the channels of images and the stem's width.
        stem_width: channels of that convolution.
    """

    unit: type[ResidualUnit]
    counts: tuple[int, int, int, int]
    shape: Mapping[str, Any] = field(default_factory=dict)
    stem: Callable[[int, int], nn.Module] = single_convolution
    stem_width: int = 64


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
"""Their bottlenecks stride in the 3x3 convolution."""
HALVED = {"groups": 64, "base_width": 4, "halved": True, "projection_3x3": True}
SENET_VARIANTS = {"senet154": ResNetLayout(Bottleneck, (3, 8, 36, 3), HALVED, three_convolutions, 128)}
"""A ResNeXt-152 64x4d with SE, modified in five places (Hu et al., v4, appendix; the release's SENet-154.prototxt): a stem of three 3x3
convolutions, bottlenecks with a halved first 1x1, which stride in the 3x3, 3x3 projections in stages 3-5 and dropout before the head.
Stage 2, which does not stride, has 1x1 projections, as in the release."""


class ResNet(ResidualNet):
    """Stem and max-pool to a quarter of the resolution, then stages 2-5 of residual units.

    Args:
        layout: the stem and the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        v1_5: bottlenecks stride in the 3x3 convolution (torchvision; every network of grouped ones) instead of the first 1x1 (the paper).
        stem_pool: "ceil" (the official release) or "pad" (torchvision; timm's and pytorchcv's `senet154`).
        zero_init_residual: see `ResidualNet`.
        dropout: share of the pooled features that training drops.
    """

    stage_names = {2: "layer1", 3: "layer2", 4: "layer3", 5: "layer4"}

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
        dropout: float = 0.0,
    ) -> None:
        super().__init__(zero_init_residual=zero_init_residual, dropout=dropout)
        check_choice("stem_pool", stem_pool, tuple(STEM_POOLS))
        self.conv1 = layout.stem(in_channels, layout.stem_width)
        self.bn1 = nn.BatchNorm2d(layout.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(**STEM_POOLS[stem_pool])
        self.stem_info = [{"channels": layout.stem_width, "stride": 2}]
        outputs = [planes * layout.unit.expansion for planes in (64, 128, 256, 512)]
        self.stack(layout.unit, layout.counts, layout.stem_width, outputs, blocks, stride=4, v1_5=v1_5, **layout.shape)
        self.fc = nn.Linear(outputs[-1], num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, stem_width, H / 4, W / 4)."""
        return self.stem_maps(x)[-1]

    def stem_maps(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to the maps before and behind the max-pool."""
        x = activated_norm(self.conv1(x), self.bn1, self.relu)
        return [x, self.maxpool(x)]
