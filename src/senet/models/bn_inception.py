"""BN-Inception (Ioffe and Szegedy, 1502.03167) in the form of the official release's SE-BN-Inception.prototxt (Hu et al., 1709.01507).

SE follows each of the ten concatenations, and the next module sees the recalibrated map. Convolutions have no biases.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from senet.models.classifier import Classifier
from senet.models.inception import AVERAGE, Branches, Conv, ConvUnit, InceptionModule
from senet.models.resnet import STEM_POOLS
from senet.models.unit_blocks import UnitBlocks

SAME_MAX_POOL = partial(nn.MaxPool2d, 3, stride=1, padding=1)


class HalvingMaxPool(nn.Module):
    """Max-pool 3x3/2 from the first pixel on, to the size ceil(H / 2) x ceil(W / 2) of the padded 3x3/2 convolutions beside it.

    The release's pool (ceil mode, no padding) gives one cell less where H or W is odd, and cannot be concatenated there; at even sizes
    both are the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        padded = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-float("inf"))
        return F.max_pool2d(padded, 3, stride=2, ceil_mode=True)


def _mixed(
    single: int, triple: tuple[int, int], double: tuple[int, int], project: int, pool: Callable[[], nn.Module] = AVERAGE
) -> Branches:
    """Return the branches of a module that keeps the resolution; pairs are the width of the 1x1 in front and that of the 3x3."""
    return {
        "1x1": [Conv(single)],
        "3x3": [Conv(triple[0]), Conv(triple[1], 3)],
        "double_3x3": [Conv(double[0]), Conv(double[1], 3), Conv(double[1], 3)],
        "pool": [pool, Conv(project)],
    }


def _halving(triple: tuple[int, int], double: tuple[int, int]) -> Branches:
    """Return the branches of a module that halves the resolution."""
    return {
        "3x3": [Conv(triple[0]), Conv(triple[1], 3, stride=2)],
        "double_3x3": [Conv(double[0]), Conv(double[1], 3), Conv(double[1], 3, stride=2)],
        "pool": [HalvingMaxPool],
    }


VARIANTS = {
    "bn_inception": {
        3: {
            "a": _mixed(64, (64, 64), (64, 96), 32),
            "b": _mixed(64, (64, 96), (64, 96), 64),
            "c": _halving((128, 160), (64, 96)),
        },
        4: {
            "a": _mixed(224, (64, 96), (96, 128), 128),
            "b": _mixed(192, (96, 128), (96, 128), 128),
            "c": _mixed(160, (128, 160), (128, 160), 128),
            "d": _mixed(96, (128, 192), (160, 192), 128),
            "e": _halving((128, 192), (192, 256)),
        },
        5: {
            "a": _mixed(352, (192, 320), (160, 224), 128),
            "b": _mixed(352, (192, 320), (192, 224), 128, SAME_MAX_POOL),
        },
    }
}
"""Stage -> letter of the module -> its branches."""


class BNInception(Classifier):
    """Stem to an eighth of the resolution, modules 3a-3c, 4a-4e and 5a-5b; 3c and 4e halve it.

    Args:
        layout: stage -> name -> branches of the modules.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which module gets which block; "standard" is the only placement.
    """

    stage_names = {3: "stage3", 4: "stage4", 5: "stage5"}
    stem_info = ({"channels": 64, "stride": 2}, {"channels": 192, "stride": 4})

    def __init__(self, layout: Mapping[int, Mapping[str, Branches]], num_classes: int, in_channels: int, blocks: UnitBlocks) -> None:
        super().__init__()
        blocks.check(self.stage_names, ("standard",))
        self.conv1 = ConvUnit(in_channels, Conv(64, 7, stride=2))
        self.pool1 = nn.MaxPool2d(**STEM_POOLS["ceil"])
        self.conv2_reduce = ConvUnit(64, Conv(64))
        self.conv2 = ConvUnit(64, Conv(192, 3))
        self.pool2 = nn.MaxPool2d(**STEM_POOLS["ceil"])
        channels, widths = 192, {}
        for stage, modules in layout.items():
            built = nn.Sequential()
            for index, (name, branches) in enumerate(modules.items(), 1):
                module = InceptionModule(channels, branches, partial(blocks.build, stage, index))
                built.add_module(name, module)
                channels = widths[module] = module.outputs
            self.add_module(self.stage_names[stage], built)
        self.feature_info = [{"channels": widths[level[-1]], "stride": 8 * 2**index} for index, level in enumerate(self.levels)]
        self.fc = nn.Linear(channels, num_classes)

    @property
    def levels(self) -> list[Sequence[nn.Module]]:
        """The modules of equal resolution: 3a-3b, 3c-4d and 4e-5b. The last module of stages 3 and 4 belongs to the coarser map."""
        third, fourth, fifth = ([*stage.children()] for stage in self.stages.values())
        return [third[:-1], third[-1:] + fourth[:-1], fourth[-1:] + fifth]

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 192, H / 8, W / 8)."""
        return self.stem_maps(x)[-1]

    def stem_maps(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to the maps before each max-pool, and the one behind the last."""
        half = self.conv1(x)
        quarter = self.conv2(self.conv2_reduce(self.pool1(half)))
        return [half, quarter, self.pool2(quarter)]
