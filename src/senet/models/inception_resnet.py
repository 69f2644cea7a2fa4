"""Inception-ResNet-v2 (Szegedy et al., 1602.07261), plain or with SE.

Hu et al. (1709.01507, section 3.3) integrate SE into Inception-ResNet-v2 by "similar schemes" and say no more. Here a residual unit has
its block on the non-identity branch: on the output of the 1x1 convolution that widens it, before the residual is scaled; a module that
concatenates (5b, and the reductions 6a and 7a) has it after the concatenation. With 10, 20 and 10 units these are 43 blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.models.inception import AVERAGE, Branches, Conv, ConvUnit, InceptionModule, concatenated, parallel, sequential
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import residual_tail

BN_EPS = 1e-3
"""The authors' epsilon (TF-slim), with which the public weights were trained."""

REDUCTION_POOL = partial(nn.MaxPool2d, 3, stride=2)

STEM = (
    Conv(32, 3, stride=2, valid=True),
    Conv(32, 3, valid=True),
    Conv(64, 3),
    REDUCTION_POOL,
    Conv(80),
    Conv(192, 3, valid=True),
    REDUCTION_POOL,
)


@dataclass(frozen=True)
class Stage:
    """Make-up of one stage.

    Args:
        first: branches of the module that it begins with.
        unit: branches of its residual units.
        scale: factor of their residuals (Szegedy et al., section 3.3).
    """

    first: Branches
    unit: Branches
    scale: float


VARIANTS = {
    "inception_resnet_v2": {
        3: Stage(
            first={
                "1x1": [Conv(96)],
                "5x5": [Conv(48), Conv(64, 5)],
                "double_3x3": [Conv(64), Conv(96, 3), Conv(96, 3)],
                "pool": [partial(AVERAGE, count_include_pad=False), Conv(64)],
            },
            unit={"1x1": [Conv(32)], "3x3": [Conv(32), Conv(32, 3)], "double_3x3": [Conv(32), Conv(48, 3), Conv(64, 3)]},
            scale=0.17,
        ),
        4: Stage(
            first={
                "3x3": [Conv(384, 3, stride=2, valid=True)],
                "double_3x3": [Conv(256), Conv(256, 3), Conv(384, 3, stride=2, valid=True)],
                "pool": [REDUCTION_POOL],
            },
            unit={"1x1": [Conv(192)], "7x7": [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]},
            scale=0.10,
        ),
        5: Stage(
            first={
                "3x3": [Conv(256), Conv(384, 3, stride=2, valid=True)],
                "narrow_3x3": [Conv(256), Conv(288, 3, stride=2, valid=True)],
                "double_3x3": [Conv(256), Conv(288, 3), Conv(320, 3, stride=2, valid=True)],
                "pool": [REDUCTION_POOL],
            },
            unit={"1x1": [Conv(192)], "3x3": [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))]},
            scale=0.20,
        ),
    }
}


class InceptionResidualUnit(nn.Module):
    """Parallel branches whose concatenated maps are widened by a 1x1 convolution `up`, recalibrated, scaled, added and rectified.

    The block is the sub-module `se`; a plain unit has none.

    Args:
        channels: channels of input and output.
        branches: the branches.
        build: makes the block for that many channels, or None.
        scale: factor of the residual.
        relu: whether a ReLU follows the sum.
    """

    def __init__(
        self, channels: int, branches: Branches, build: Callable[[int], nn.Module | None], *, scale: float, relu: bool = True
    ) -> None:
        super().__init__()
        self.branches, width = parallel(channels, branches, eps=BN_EPS)
        self.up = nn.Conv2d(width, channels, 1)
        self.se = build(channels)
        self.scale = scale
        self.relu = relu

    def rescaled(self, u: Tensor) -> Tensor:
        """Recalibrate the residual, if the unit has a block, and scale it."""
        return self.scale * (u if self.se is None else self.se(u))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        return residual_tail(self.up(concatenated(self.branches, x)), x, recalibrate=self.rescaled, relu=self.relu)


class InceptionResNet(Classifier):
    """Stem, then stages 3-5: module 5b and units at 35x35, reduction 6a and units at 17x17, reduction 7a and units at 8x8.

    The sizes are those of images of 299 px; convolutions and pools that stride have no padding, so images need 75 px at least. The last
    unit scales by 1 and has no ReLU; a 1x1 convolution to 1536 channels follows it.

    Args:
        layout: the stages.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which module or unit gets which block; "standard" is the only placement.
        counts: residual units in stages 3, 4 and 5. 10, 20, 10 is the authors' code and 13.2 GMACs; Hu et al. print 11.75, which
            5, 20, 5 would give.
        dropout: share of the pooled features that training drops.

    Raises:
        UsageError: for counts that are not three positive integers, a placement but "standard", or a stage that is not there.
    """

    stage_names = {3: "stage3", 4: "stage4", 5: "stage5"}
    stem_info = ({"channels": 64, "stride": 2}, {"channels": 192, "stride": 4})

    def __init__(
        self,
        layout: Mapping[int, Stage],
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        counts: Sequence[int] = (10, 20, 10),
        dropout: float = 0.2,
    ) -> None:
        super().__init__(dropout=dropout)
        _check_counts(counts)
        blocks.check(self.stage_names, ("standard",))
        self.convolutions, channels = sequential(in_channels, STEM, eps=BN_EPS)
        widths = []
        for (number, stage), count in zip(layout.items(), counts, strict=True):
            build = partial(blocks.build, number)
            first = InceptionModule(channels, stage.first, partial(build, 1), eps=BN_EPS)
            channels = first.outputs
            ends = [number == max(layout) and index == count for index in range(1, count + 1)]
            units = [
                InceptionResidualUnit(channels, stage.unit, partial(build, index), scale=1.0 if end else stage.scale, relu=not end)
                for index, end in enumerate(ends, 2)
            ]
            self.add_module(self.stage_names[number], nn.Sequential(first, *units))
            widths.append(channels)
        self.conv7b = ConvUnit(channels, Conv(1536), eps=BN_EPS)
        widths[-1] = 1536
        self.feature_info = [{"channels": width, "stride": stride} for width, stride in zip(widths, (8, 16, 32), strict=True)]
        self.fc = nn.Linear(1536, num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 192, h, w), an eighth of the resolution: 35x35 of 299x299."""
        return self.convolutions(x)

    def stem_maps(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to the maps before each max-pool, and the one behind the last."""
        maps = []
        for layer in self.convolutions:
            maps += [x] if isinstance(layer, nn.MaxPool2d) else []
            x = layer(x)
        return [*maps, x]

    def final(self, x: Tensor) -> Tensor:
        """Widen the last sum to 1536 channels."""
        return self.conv7b(x)


def _check_counts(counts: Sequence[int]) -> None:
    whole = isinstance(counts, Sequence) and all(type(count) is int and count > 0 for count in counts)
    if not whole or len(counts) != 3:
        raise UsageError(f"counts must be three integers of at least 1, the units of stages 3, 4 and 5, such as (5, 20, 5); got {counts!r}")
