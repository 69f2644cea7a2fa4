"""The form that the F-CNNs of the scSE paper share: encoder blocks, a bottleneck, decoder blocks, a classifier (1803.02579, Figure 1a)."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet.models.segmentation.segmenter import CONV, Segmenter, check_dropout
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_positive

UnitMaker = Callable[[int, nn.Module | None], nn.Module]
"""(channels of the input, block or None) -> the unit that maps them to `width` channels and recalibrates the map."""


@dataclass(frozen=True)
class Shape:
    """Shape of an encoder-decoder.

    Args:
        dims: sides of an image: 2, or 3 for volumes.
        width: channels of every map.
        depth: encoder blocks, and decoder blocks.
        dropout: share of the channels that training drops behind every encoder and decoder block.

    Raises:
        UsageError: for a width or depth below 1, or a share that is not below 1.
    """

    dims: int
    width: int
    depth: int
    dropout: float

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        check_dropout(self.dropout)


class EncoderDecoder(Segmenter):
    """Encoder blocks, each before a 2x2 max-pool, a bottleneck, and decoder blocks that join the enlarged map with the encoder's.

    Stages are numbered along the way: encoder 1 to `depth`, bottleneck `depth` + 1, decoder `depth` + 2 to 2 `depth` + 1. Every encoder and
    decoder block has a recalibration block behind it, the bottleneck none; the skip carries the recalibrated map, dropout included.

    Images of any size: of an odd side the last window of a max-pool has one row, so that no pixel is left out, and the enlarged map is
    cropped to the skip's size; no map is padded, so that squeezes see pixels of the image only.

    Args:
        shape: dimensions, width, depth and dropout.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which stage gets which block.
        make: makes the unit of a stage.
        make_up: makes what enlarges the map for a decoder block: a module that is called with the map, the sides that it is to have and
            what `pool` gave beside the map.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        make: UnitMaker,
        make_up: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        depth, width = shape.depth, shape.width
        encoders = {number: f"encoder{number}" for number in range(1, depth + 1)}
        decoders = {depth + 1 + number: f"decoder{number}" for number in range(1, depth + 1)}
        blocks.check([*encoders, *decoders], ("standard",))
        self.stage_names = {**encoders, depth + 1: "bottleneck", **decoders}
        self.dropout, self.depth = shape.dropout, depth
        for stage, name in encoders.items():
            self.add_module(name, make(in_channels if stage == 1 else width, blocks.build(stage, 1, width)))
        self.bottleneck = make(width, None)
        for index, (stage, name) in enumerate(decoders.items(), start=1):
            self.add_module(f"up{index}", make_up())
            self.add_module(name, make(2 * width, blocks.build(stage, 1, width)))
        self.classifier = CONV[shape.dims](width, num_classes, 1)
        strides = [2**level for level in range(depth + 1)]
        self.feature_info = [{"channels": width, "stride": stride} for stride in (*strides, *strides[-2::-1])]

    @abstractmethod
    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Halve a map (N, C, H, W), of odd sides to the larger half; return with it what enlarging the half again needs."""

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the map of every stage for images (N, in_channels, H, W), in the order of the stages."""
        found, kept = [], []
        for number in range(1, self.depth + 1):
            x = self.drop(self.get_submodule(f"encoder{number}")(x))
            found.append(x)
            x, *rest = self.pool(x)
            kept.append(rest)
        found.append(x := self.bottleneck(x))
        for number in range(1, self.depth + 1):
            skip = found[self.depth - number]
            x = self.get_submodule(f"up{number}")(x, skip.shape[2:], *kept.pop())
            x = self.get_submodule(f"decoder{number}")(torch.cat((skip, x.to(skip.dtype)), 1))
            found.append(x := self.drop(x))
        return found
