"""SENet-154 (Hu et al., 1709.01507v4, appendix; the release's SENet-154.prototxt): a ResNeXt-152 64x4d with SE, modified in five places."""

from torch import nn

from senet.models.residual import Bottleneck, conv
from senet.models.resnet import ImageNetResNet, ResNetLayout
from senet.models.unit_blocks import UnitBlocks

STEM_WIDTH = 128

VARIANTS = {
    "senet154": ResNetLayout(Bottleneck, (3, 8, 36, 3), {"groups": 64, "base_width": 4, "halved": True, "projection_3x3": True}),
}


class SENet154(ImageNetResNet):
    """Stem of three 3x3 convolutions, bottlenecks with a halved first 1x1, 3x3 projections in stages 3-5, dropout before the head.

    Stage 2, which does not stride, has 1x1 projections, as in the release.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        stem_pool: "ceil" (the official release) or "pad" (timm's `senet154`, pytorchcv).
        zero_init_residual: see `ResidualNet`.
        dropout: share of the pooled features that training drops.
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
        dropout: float = 0.2,
    ) -> None:
        chosen = {"stem_pool": stem_pool, "zero_init_residual": zero_init_residual, "dropout": dropout}
        super().__init__(_deep_stem(in_channels), STEM_WIDTH, layout, num_classes, blocks, v1_5=True, **chosen)


def _deep_stem(in_channels: int) -> nn.Sequential:
    half = STEM_WIDTH // 2
    first = (conv(in_channels, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU())
    return nn.Sequential(*first, conv(half, half, 3), nn.BatchNorm2d(half), nn.ReLU(), conv(half, STEM_WIDTH, 3))
