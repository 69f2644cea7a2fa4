"""ImageNet ResNets (He et al., 1512.03385), plain or with SE (Hu et al., 1709.01507): ResNet-18/34/50/101/152."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet.models.recalibration import Recalibration
from senet.models.residual import BasicBlock, Bottleneck, ResidualUnit
from senet.models.residual_net import ResidualNet
from senet.spec import check_choice

STEM_POOLS = {
    "ceil": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    "pad": {"kernel_size": 3, "stride": 2, "padding": 1},
}
"""The release's max-pool (no padding, ceil mode) and torchvision's: same sizes at 224, windows shifted by one pixel."""


@dataclass(frozen=True)
class Layout:
    """Say which unit a network repeats, and how often in each stage."""

    unit: type[ResidualUnit]
    counts: tuple[int, int, int, int]


VARIANTS = {
    "resnet18": Layout(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Layout(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Layout(Bottleneck, (3, 4, 6, 3)),
    "resnet101": Layout(Bottleneck, (3, 4, 23, 3)),
    "resnet152": Layout(Bottleneck, (3, 8, 36, 3)),
}


class ResNet(ResidualNet):
    """Stem 7x7/2 and max-pool, then stages 2-5 of residual units.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        recalibration: which unit gets which block.
        v1_5: bottlenecks stride in the 3x3 convolution (torchvision) instead of the first 1x1 (the paper).
        stem_pool: "ceil" (the official release) or "pad" (torchvision).
        zero_init_residual: see `ResidualNet`.
    """

    stage_names = {2: "layer1", 3: "layer2", 4: "layer3", 5: "layer4"}

    def __init__(
        self,
        layout: Layout,
        num_classes: int,
        in_channels: int,
        recalibration: Recalibration,
        *,
        v1_5: bool = False,
        stem_pool: str = "ceil",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__(zero_init_residual=zero_init_residual)
        check_choice("stem_pool", stem_pool, tuple(STEM_POOLS))
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(**STEM_POOLS[stem_pool])
        outputs = [width * layout.unit.expansion for width in (64, 128, 256, 512)]
        self.stack(layout.unit, layout.counts, 64, outputs, recalibration, stride=4, v1_5=v1_5)
        self.fc = nn.Linear(outputs[-1], num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 64, H / 4, W / 4)."""
        return self.maxpool(torch.relu(self.bn1(self.conv1(x))))
