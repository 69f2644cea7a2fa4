"""U-Net around a network made for classes: its maps are the encoder's, and decoder blocks join them up to the image's size."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet.errors import UsageError
from senet.models.segmentation.enlarging import WAYS_UP
from senet.models.segmentation.segmenter import Segmenter, check_dropout
from senet.models.segmentation.unet import ConvolutionBlock, Convolutions
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_choice, check_positive


class EncodedUNet(Segmenter):
    """U-Net whose encoder is another network, with one decoder block for each halving of the resolution, the last at the image's size.

    A decoder block enlarges the coarser map to the size of the skip, concatenates both where the encoder has a map of that stride, and has
    `convs` convolutions with norm and ReLU; its recalibration block comes last. Recalibration is that of the decoder; the encoder has the
    blocks that its own name or options give it, and skips carry its maps as they are.

    Stages are numbered as in the plain U-Net, from full resolution down and up again: with maps down to the stride 2**n, decoder blocks are
    the stages n + 2 to 2 n + 1 (ResNets, n = 5: 7 to 11).

    Args:
        dims: sides of an image, 2.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which decoder block gets which block.
        encoder: a network of the zoo, or timm/NAME.
        encoder_options: options of that network.
        widths: channels of the decoder blocks, coarsest first; an encoder that halves less often takes the last.
        kernel: side of the decoder's kernels, odd.
        convs: convolutions in a decoder block.
        norm: "batch", "instance" or None.
        upsample: "nearest" or "bilinear".
        dropout: share of the channels that training drops behind every decoder block.

    Raises:
        UsageError: for an encoder that is not there or has no maps, too few widths, or an option that is none of these.
    """

    def __init__(
        self,
        dims: int,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        encoder: str = "resnet50",
        encoder_options: Mapping[str, Any] | None = None,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
        kernel: int = 3,
        convs: int = 2,
        norm: str | None = "batch",
        upsample: str = "nearest",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("upsample", upsample, WAYS_UP[:2])
        check_dropout(dropout)
        convolutions = Convolutions(dims, kernel, convs, norm, bias=norm is None)
        from senet.models.encoder_request import make_encoder  # it builds networks of the registry, which imports this file

        self.encoder = make_encoder(encoder, in_channels, encoder_options or {})
        self.upsample, self.dropout = upsample, dropout
        maps: Any = self.encoder.feature_info
        self.skips = {info["stride"]: index for index, info in enumerate(maps)}
        halvings = int(maps[-1]["stride"]).bit_length() - 1
        outputs = _last(widths, halvings, encoder)
        stages = range(halvings + 2, 2 * halvings + 2)
        blocks.check(stages, ("standard",))
        self.stage_names = {stage: f"decoder{number}" for number, stage in enumerate(stages, start=1)}
        self.strides = [2**level for level in reversed(range(halvings))]
        channels = maps[-1]["channels"]
        self.feature_info = list(maps)
        for (stage, name), stride, width in zip(self.stage_names.items(), self.strides, outputs, strict=True):
            inputs = channels + (maps[self.skips[stride]]["channels"] if stride in self.skips else 0)
            self.add_module(name, ConvolutionBlock(convolutions.layers(inputs, width), blocks.build(stage, 1, width)))
            self.feature_info.append({"channels": width, "stride": stride})
            channels = width
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the encoder's maps for images (N, in_channels, H, W), finest first, and those of the decoder blocks, coarsest first."""
        found = self.encoder(x)
        maps = [found[index] for index in range(len(self.skips))]
        last = maps[-1]
        for name, stride in zip(self.stage_names.values(), self.strides, strict=True):
            skip = maps[self.skips[stride]] if stride in self.skips else None
            size = [-(-x.shape[axis] // stride) for axis in (2, 3)] if skip is None else skip.shape[2:]
            last = F.interpolate(last, size=size, mode=self.upsample)
            last = self.get_submodule(name)(last if skip is None else torch.cat((skip, last.to(skip.dtype)), 1))
            maps.append(last := self.drop(last))
        return maps


def _last(widths: Sequence[int], count: int, encoder: str) -> list[int]:
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < count:
        raise UsageError(
            f"widths are the channels of the decoder blocks, {count} for the encoder {encoder}, coarsest first; got {widths!r}"
        )
    return [check_positive("widths", width) for width in list(widths)[len(widths) - count :]]
