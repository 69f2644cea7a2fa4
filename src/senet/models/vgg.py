"""VGG networks with batch normalisation (Simonyan and Zisserman, 1409.1556), plain or with SE behind every ReLU of the convolutions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.blocks.initialise import init_fan_in_
from senet.models.classifier import Classifier
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.layers import RecalibratedReLU

VARIANTS = {
    "vgg11_bn": (1, 1, 2, 2, 2),
    "vgg13_bn": (2, 2, 2, 2, 2),
    "vgg16_bn": (2, 2, 3, 3, 3),
    "vgg19_bn": (2, 2, 4, 4, 4),
}
"""Name -> convolutions in each of the stages 1-5 (configurations A, B, D and E)."""

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each stage."""

UNIT = 3
"""Layers of a unit: convolution, BN, ReLU."""

GRID = 7
"""Side of the pooled map that the first linear layer sees."""


class HiddenLinear(nn.Linear):
    """Linear layer before a ReLU, initialised by fan-in (He et al., 1502.01852) so that a VGG can be trained from scratch."""

    def reset_parameters(self) -> None:
        """Draw the weights by fan-in and set the bias to 0."""
        init_fan_in_(self, relu=True)


class VGG(Classifier):
    """Stages 1-5 of 3x3 convolutions with bias, BN and ReLU, each ended by a max-pool; two hidden linear layers of 4096.

    State-dict names are torchvision's; a block is the sub-module `se` of its ReLU: `features.2.se.fc1.weight`. The last max-pool belongs to
    the head, so that the last map has stride 16. Maps of any size are pooled to 7x7 before the head.

    Args:
        counts: convolutions in each stage.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which convolution gets which block.
        dropout: share of the hidden units that training drops, after each of the two hidden layers.
    """

    head = "classifier.6"

    def __init__(self, counts: Sequence[int], num_classes: int, in_channels: int, blocks: UnitBlocks, *, dropout: float = 0.5) -> None:
        super().__init__()
        blocks.check(range(1, len(counts) + 1), ("standard",))
        layers: list[nn.Module] = []
        pools, inputs = [], in_channels
        for stage, (count, channels) in enumerate(zip(counts, WIDTHS, strict=True), start=1):
            for index in range(1, count + 1):
                block = blocks.build(stage, index, channels)
                rectifier = nn.ReLU() if block is None else RecalibratedReLU(block)
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), rectifier]
                inputs = channels
            pools.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.pools = tuple(pools)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(HiddenLinear(inputs * GRID**2, 4096), nn.ReLU(), nn.Dropout(dropout)),
            *(HiddenLinear(4096, 4096), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(4096, num_classes),
        )
        self.feature_info = [{"channels": channels, "stride": 2**level} for level, channels in enumerate(WIDTHS)]

    @property
    def stages(self) -> dict[int, nn.Module]:
        """The stages, by number: a Sequential of units (convolution, BN, ReLU), which shares its layers with `features`."""
        layers = list(self.features)
        starts = [0, *(pool + 1 for pool in self.pools)]
        units = [
            [nn.Sequential(*layers[first : first + UNIT]) for first in range(start, pool, UNIT)]
            for start, pool in zip(starts, self.pools, strict=False)
        ]
        return {number: nn.Sequential(*stage) for number, stage in enumerate(units, start=1)}

    @property
    def levels(self) -> list[Sequence[nn.Module]]:
        """The layers between two maps; each level but the first begins with the pool that ends the stage before."""
        layers = list(self.features)
        return [layers[start:end] for start, end in zip((0, *self.pools), self.pools, strict=False)]

    def stem(self, x: Tensor) -> Tensor:
        """Return the images: a VGG has no stem."""
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last map (N, 512, h, w) to logits (N, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features[-1](x), GRID)
        return self.classifier(torch.flatten(x, 1))
