"""The backbone of a detector: a network made for classes, without its head, and the neck that makes its maps alike."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.classifier import Classifier
from senet.models.network import ModelConfig
from senet.models.pyramid import Resolutions
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.layers import in_order
from senet.spec import check_choice

NECKS = ("fpn", "c4")
"""Feature pyramid (Lin et al., 1612.03144), or the map before the last stage, whose units are then the head of every region."""

PyramidMaker = Callable[[Sequence[int], int], nn.Module]
"""(channels of the maps that it joins, channels of its own maps) -> the feature pyramid."""

FINEST_STRIDE, COARSEST_STRIDE = 4, 32
"""Strides of the maps that a feature pyramid joins."""


class DetectionBackbone(nn.Module):
    """Network without its head, and its neck.

    State-dict names are those of torchvision's detectors: the network below `body.`, the feature pyramid below `fpn.`.

    Args:
        body: the network; it loses its head.
        neck: "fpn" or "c4".
        pyramid: makes the feature pyramid.
        channels: of the pyramid's maps.
        extra_levels: maps that the pyramid adds, each of twice the stride.

    Attributes:
        inputs: channels of the network's maps that the neck takes, finest first.
        strides: input pixels a cell of them.
        feature_info: channels and stride of each map that `forward` returns: of a feature pyramid those that it adds too.

    Raises:
        UsageError: for another neck, or a network that has no map for it.
    """

    def __init__(self, body: Classifier, neck: str, pyramid: PyramidMaker, *, channels: int = 256, extra_levels: int = 1) -> None:
        super().__init__()
        check_choice("neck", neck, NECKS)
        delattr(body, body.head.partition(".")[0])
        self.body = body
        self.neck = neck
        levels = body.feature_info
        self.resolutions = Resolutions.of(body, _before_last(body) if neck == "c4" else min(COARSEST_STRIDE, levels[-1]["stride"]))
        maps = self.resolutions.info
        first = (
            len(maps) - 1 if neck == "c4" else next((i for i, info in enumerate(maps) if info["stride"] >= FINEST_STRIDE), len(maps) - 1)
        )
        self.first = first
        self.strides = [info["stride"] for info in maps[first:]]
        self.inputs = [info["channels"] for info in maps[first:]]
        self.fpn = pyramid(self.inputs, channels) if neck == "fpn" else None
        self.feature_info = list(maps[first:])
        if self.fpn is not None:
            strides = [*self.strides, *(self.strides[-1] * 2**extra for extra in range(1, extra_levels + 1))]
            self.feature_info = [{"channels": channels, "stride": stride} for stride in strides]

    @property
    def config(self) -> ModelConfig:
        """How the network was made."""
        return self.body.config

    @property
    def headless(self) -> Classifier:
        """The network without its head, into which weights are loaded."""
        return self.body

    def forward(self, x: Tensor) -> "OrderedDict[str, Tensor]":
        """Map images (N, in_channels, H, W) to the maps by name, finest first: "0", "1" and so on, and what a pyramid adds."""
        maps = self.resolutions.maps(self.body, x)[self.first :]
        named = OrderedDict((str(index), tensor) for index, tensor in enumerate(maps))
        return named if self.fpn is None else self.fpn(named)

    def last_stage(self, x: Tensor) -> Tensor:
        """Map regions of the map before the last stage (K, C, h, w) to maps of that stage (K, channels, h / 2, w / 2)."""
        return self.body.final(in_order(self.body.levels[-1], x))


def make_body(name: str, in_channels: int, blocks: UnitBlocks, options: Mapping[str, Any]) -> Classifier:
    """Build the network of a backbone on torch's default device, with undefined weights, its blocks where `blocks` says.

    Raises:
        UsageError: for a network that is none of the zoo's classifiers, or an option that it does not have.
    """
    from senet.models.registry import PLAIN, assemble  # the registry imports the detectors

    family = PLAIN[name]
    own = replace(blocks, defaults=family.block_defaults)
    body: Any = assemble(name, family, own, num_classes=1, in_channels=in_channels, options=options)
    return body


def _before_last(body: Classifier) -> int:
    strides = [info["stride"] for info in body.feature_info]
    if len(strides) < 2 or strides[-2] == strides[-1]:
        raise UsageError(f"{body.config.name} has no map before its last stage for neck='c4': use neck='fpn'")
    return strides[-2]
