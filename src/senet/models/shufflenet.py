"""ShuffleNet v1 (Zhang et al., 1707.01083), plain or with SE on the branch of every unit."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet.models.classifier import Classifier
from senet.models.residual import conv
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import activated_norm, residual_tail

UNITS = (4, 8, 4)
"""Units of the stages 2-4."""

STEM_WIDTH = 24


@dataclass(frozen=True)
class ShuffleLayout:
    """Groups of the pointwise convolutions, and width of stage 2; each later stage is twice as wide."""

    groups: int
    width: int


VARIANTS = {f"shufflenet_g{groups}": ShuffleLayout(groups, width) for groups, width in ((1, 144), (2, 200), (3, 240), (4, 272), (8, 384))}
"""The networks of Table 1, "1x"."""


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3 and grouped 1x1 convolutions beside a shortcut (section 3.2, Figure 2).

    At stride 1 branch and shortcut are added. At stride 2 the shortcut is a 3x3 average pool, and the branch, so much narrower, is
    concatenated with it. The block, `se`, recalibrates the branch before either; what the pool takes over is not rescaled.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        groups: groups of the first and of the last convolution.
        stride: 1 or 2.
        blocks: which unit gets which block.
        stage: the unit's stage.
        index: its place there, from 1.
    """

    def __init__(self, inputs: int, outputs: int, groups: tuple[int, int], stride: int, blocks: UnitBlocks, stage: int, index: int) -> None:
        super().__init__()
        width = outputs // 4
        new = outputs if stride == 1 else outputs - inputs
        self.conv1 = conv(inputs, width, 1, groups=groups[0])
        self.bn1 = nn.BatchNorm2d(width)
        self.shuffle = nn.ChannelShuffle(groups[1])
        self.conv2 = conv(width, width, 3, stride, groups=width)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, new, 1, groups=groups[1])
        self.bn3 = nn.BatchNorm2d(new)
        self.pool = None if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.se = blocks.build(stage, index, new)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        u = self.shuffle(activated_norm(self.conv1(x), self.bn1))
        u = self.conv3(self.bn2(self.conv2(u)))
        if self.pool is None:
            return residual_tail(u, x, norm=self.bn3, recalibrate=self.se)
        u = self.bn3(u)
        return torch.relu(torch.cat((u if self.se is None else self.se(u), self.pool(x)), 1))


class ShuffleNet(Classifier):
    """ShuffleNet 1x: stem 3x3/2 with 24 channels and max-pool, stages 2-4 of shuffle units; every stage halves H and W.

    The very first pointwise convolution, which sees the stem's 24 channels, has no groups.

    Args:
        layout: groups and widths.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        dropout: see `Classifier`.
    """

    stage_names = {2: "layer1", 3: "layer2", 4: "layer3"}
    stem_info = ({"channels": STEM_WIDTH, "stride": 2}, {"channels": STEM_WIDTH, "stride": 4})
    conv_init = "fan_in"  # the fan-out that torch computes ignores groups

    def __init__(self, layout: ShuffleLayout, num_classes: int, in_channels: int, blocks: UnitBlocks, *, dropout: float = 0.0) -> None:
        super().__init__(dropout=dropout)
        blocks.check(self.stage_names, ("standard",))
        self.conv1 = conv(in_channels, STEM_WIDTH, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.feature_info = []
        inputs = STEM_WIDTH
        for (stage, name), count in zip(self.stage_names.items(), UNITS, strict=True):
            channels = layout.width * 2 ** (stage - 2)
            groups = (1 if stage == 2 else layout.groups, layout.groups)
            units = [ShuffleUnit(inputs, channels, groups, 2, blocks, stage, 1)]
            groups = (layout.groups, layout.groups)
            units += [ShuffleUnit(channels, channels, groups, 1, blocks, stage, index) for index in range(2, count + 1)]
            self.add_module(name, nn.Sequential(*units))
            self.feature_info.append({"channels": channels, "stride": 2 ** (stage + 1)})
            inputs = channels
        self.fc = nn.Linear(inputs, num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 24, H / 4, W / 4)."""
        return self.stem_maps(x)[-1]

    def stem_maps(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to the maps before and behind the max-pool."""
        x = activated_norm(self.conv1(x), self.bn1)
        return [x, self.maxpool(x)]
