"""The networks of the zoo as encoders of segmentation_models_pytorch (smp): `smp.Unet("senet-se_resnet50", encoder_weights=None)`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError, choice_error
from senet.models.bn_inception import HalvingMaxPool
from senet.models.classifier import Classifier
from senet.models.create import create_model, create_recalibrated
from senet.models.encoder_request import CLASSIFIERS
from senet.models.pyramid import Pyramid
from senet.models.registry import list_models, split_name
from senet.spec import Recalibration
from senet.weights.bridge import Allowed
from senet.weights.load import load_opened
from senet.weights.source import Source

OUTPUT_STRIDES = (8, 16)
"""Strides of the last map for which smp asks by dilated convolutions."""

LOWERING = (nn.MaxPool2d, nn.AvgPool2d, HalvingMaxPool)
"""Layers that lower the resolution and cannot be dilated."""


def register_smp_encoders(
    pattern: str = "*", *, prefix: str = "senet-", weights: str | Path | Mapping[str, Any] | None = None, **options: Any
) -> list[str]:
    """Make networks of the zoo encoders of segmentation_models_pytorch, each under its own name behind a prefix.

    Nothing is built before smp asks for it. Networks of smp take such an encoder by name, with `encoder_weights=None`; trained weights are
    those that are given here, or `senet.load_weights(model.encoder, source)`.

    Args:
        pattern: which of `list_models()`, a shell wildcard such as "se_*"; of these, the ones that map images (N, C, H, W).
        prefix: stands before the name; with weights or options, another one than the default tells those encoders from the plain ones.
        weights: trained weights that the encoder begins with, as `senet.create_model` takes them.
        options: of `create_model`: block, reduction, stages, v1_5, stem_pool, ...

    Returns:
        The names under which smp has the encoders.

    Raises:
        UsageError: if smp is not installed, or no network has such a name.
    """
    try:
        from segmentation_models_pytorch.encoders import encoders
    except ImportError:
        raise UsageError(
            "encoders can be registered where segmentation_models_pytorch is installed: pip install segmentation-models-pytorch"
        ) from None
    names = [name for name in list_models(pattern) if split_name(name)[1] in CLASSIFIERS]
    if not names:
        raise choice_error("networks for smp", pattern, [name for name in list_models() if split_name(name)[1] in CLASSIFIERS])
    for name in names:
        maker = partial(SmpEncoder, name, weights=weights, options=options)
        encoders[prefix + name] = {"encoder": maker, "pretrained_settings": {}, "params": {}}
    return [prefix + name for name in names]


class SmpEncoder(nn.Module):
    """Network of the zoo in the form that decoders of smp expect: the map at each stride 1, 2, 4, ..., 2 ** depth.

    The first map is the image, unless the network has one of its resolution. State-dict keys are the network's below `pyramid.network.`.

    Args:
        name: of the zoo.
        weights: trained weights to begin with.
        options: of `create_model`.
        depth: how often the resolution is halved, from 1.
        output_stride: the stride that is asked for; smaller ones than 32 come by `make_dilated`.

    Raises:
        UsageError: if the network halves the resolution less often.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | Path | Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        depth: int = 5,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        self.name, self.depth, self.is_trained = name, depth, weights is not None
        self._output_stride = output_stride
        maps: Any = create_model(name, weights=weights, features_only=True, **dict(options or {}))
        self._hold(maps.network)

    @property
    def headless(self) -> Classifier:
        """The network without its head, into which weights are loaded."""
        return self.pyramid.network

    @property
    def out_channels(self) -> list[int]:
        """Channels of each map."""
        return ([] if self._has_full_resolution else [self.in_channels]) + [info["channels"] for info in self.pyramid.feature_info]

    @property
    def output_stride(self) -> int:
        """Input pixels a cell of the last map."""
        return min(self._output_stride, 2**self.depth)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to depth + 1 maps, finest first."""
        maps = self.pyramid(x)
        return maps if self._has_full_resolution else [x, *maps]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Make the network one for images of other channels.

        Args:
            in_channels: of the images.
            pretrained: the weights are trained, whichever way: the first kernel is spread over the channels, which the log says, and all
                others are kept. Otherwise the network is drawn anew, unless it began with trained weights.
        """
        if in_channels == self.in_channels:
            return
        old = self.pyramid.network
        options: dict[str, Any] = {**old.config.options, "in_channels": in_channels}
        recalibration = Recalibration(options.pop("block"), options.pop("placement"), options.pop("stages"))
        self._hold(create_recalibrated(split_name(old.config.name)[1], recalibration, **options))
        if pretrained or self.is_trained:
            source = Source(f"the encoder {self.name}", state=old.state_dict())
            opened = source.open()
            known = getattr(old, "weights_metadata", opened.metadata)  # the images, which go on being what they were
            load_opened(self, replace(opened, metadata=replace(known, config=None)), Allowed())

    def make_dilated(self, output_stride: int) -> None:
        """Keep the resolution from a stride on: convolutions there stride no more and are dilated instead, as in smp's own encoders.

        Raises:
            UsageError: for another stride than 8 and 16, or a network that halves the resolution by pools there.
        """
        if output_stride not in OUTPUT_STRIDES:
            raise UsageError(f"an encoder of smp is dilated to a stride of 8 or 16, not {output_stride}")
        network = self.pyramid.network
        levels = zip(network.levels, network.feature_info, strict=True)
        later = {info["stride"]: level for level, info in levels if info["stride"] > output_stride}
        modules = {stride: [inner for layer in level for inner in outside_blocks(layer)] for stride, level in later.items()}
        ends_in_pool = self.pyramid.feature_info[-1]["stride"] > network.feature_info[-1]["stride"]
        if ends_in_pool or any(isinstance(module, LOWERING) for inner in modules.values() for module in inner):
            raise UsageError(
                f"{self.name} halves the resolution by pools, which cannot be dilated: take a ResNet, ResNeXt, SENet or MobileNet, "
                "or a decoder that needs no dilation, such as Unet or FPN"
            )
        for stride, inner in modules.items():
            for module in inner:
                if isinstance(module, nn.Conv2d):
                    _dilate(module, stride // output_stride)

    def _hold(self, network: nn.Module) -> None:
        assert isinstance(network, Classifier)
        strides = [info["stride"] for info in (*network.stem_info, *network.feature_info)]
        deepest = max(strides).bit_length() - 1
        try:
            self.pyramid = Pyramid(network, 2**self.depth)
        except UsageError as error:
            raise UsageError(
                f"{self.name} halves the resolution {deepest} times: encoder_depth={self.depth} is to be {deepest} at most, "
                "with as many decoder_channels"
            ) from error
        self.config = network.config
        self.in_channels = network.config.options["in_channels"]
        self._has_full_resolution = self.pyramid.feature_info[0]["stride"] == 1


def outside_blocks(module: nn.Module) -> list[nn.Module]:
    """Return a module and all those inside, but for recalibrating blocks."""
    if is_block(module):
        return []
    return [module, *(inner for child in module.children() for inner in outside_blocks(child))]


def _dilate(conv: nn.Conv2d, rate: int) -> None:
    conv.stride, conv.dilation = (1, 1), (rate, rate)
    height, width = conv.kernel_size
    conv.padding = (height // 2 * rate, width // 2 * rate)
