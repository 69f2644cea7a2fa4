"""Feature pyramids and pooled regions, as torchvision has them, of maps whose strides are known."""

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from senet.errors import Needing

CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4
"""A region of this side is pooled from this level, of the stride 2**level (Lin et al., 1612.03144, equation 1)."""


def feature_pyramid(inputs: Sequence[int], channels: int) -> nn.Module:
    """Make the pyramid of maps of these channels, whose coarsest map is subsampled once more.

    Raises:
        UsageError: where torchvision is not installed.
    """
    network = _pyramids()
    return network.FeaturePyramidNetwork(list(inputs), channels, extra_blocks=network.LastLevelMaxPool())


def extended_pyramid(inputs: Sequence[int], channels: int) -> nn.Module:
    """Make the pyramid of maps of these channels, with two more maps by 3x3 convolutions of stride 2 (Lin et al., 1708.02002).

    Raises:
        UsageError: where torchvision is not installed.
    """
    network = _pyramids()
    return network.FeaturePyramidNetwork(list(inputs), channels, extra_blocks=network.LastLevelP6P7(channels, channels))


def _pyramids() -> Any:
    with Needing("detectors need torchvision", "train"):
        from torchvision.ops import feature_pyramid_network
    return feature_pyramid_network


def region_pool(strides: Sequence[int], side: int) -> nn.Module:
    """Make what pools regions to (side, side) from the maps "0", "1" and so on.

    torchvision's finds the strides in the first batch that it sees, from rounded sizes; here they are known.
    """
    from torchvision.ops import poolers

    pool: Any = poolers.MultiScaleRoIAlign([str(index) for index in range(len(strides))], side, 2)
    pool.scales = [1 / stride for stride in strides]
    levels = [int(math.log2(stride)) for stride in strides]
    pool.map_levels = poolers.initLevelMapper(levels[0], levels[-1], CANONICAL_SIDE, CANONICAL_LEVEL)
    return pool
