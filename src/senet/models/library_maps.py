"""The maps of a network of timm, in the form that decoders of segmenters join."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.foreign import RGB, build_foreign, outline_foreign
from senet.weights.bridge import Allowed
from senet.weights.load import load_opened
from senet.weights.source import Source


class LibraryMaps(nn.Module):
    """Network of timm, built by its `features_only`, that returns the last map of each resolution, finest first.

    It is on the meta device until `to_empty` and `reset_parameters`, as the networks of the zoo are while they are built.

    Args:
        name: timm/NAME or timm/NAME.TAG.
        in_channels: channels of the images.
        options: of timm's constructor.

    Attributes:
        feature_info: channels and stride (input pixels a cell) of each map.

    Raises:
        UsageError: if timm is not installed, has no such network, or one without maps; or if the maps' strides are no powers of two.
    """

    def __init__(self, name: str, in_channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.name, self.in_channels, self.options = name, in_channels, dict(options)
        network: Any = outline_foreign(name, None, in_channels, self._asked())
        self.network: nn.Module = network
        self.is_channels_last = getattr(network, "output_fmt", None) == "NHWC"
        strides = list(network.feature_info.reduction())
        if any(int(stride).bit_count() != 1 for stride in strides):
            raise UsageError(f"{name} has maps of the strides {', '.join(map(str, strides))}: a decoder needs powers of two")
        self.chosen = sorted({stride: index for index, stride in enumerate(strides)}.values(), key=lambda index: strides[index])
        channels = network.feature_info.channels()
        self.feature_info = [{"channels": channels[index], "stride": int(strides[index])} for index in self.chosen]

    @property
    def headless(self) -> nn.Module:
        """The network, into which weights are loaded."""
        return self.network

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (N, in_channels, H, W) to one map (N, channels, H / stride, W / stride) for each resolution."""
        maps = self.network(x)
        chosen = [maps[index] for index in self.chosen]
        return [tensor.permute(0, 3, 1, 2) for tensor in chosen] if self.is_channels_last else chosen

    def reset_parameters(self) -> None:
        """Draw all weights, and compute all buffers, as timm does."""
        fresh = build_foreign(self.name, None, self.in_channels, self._asked())
        with torch.no_grad():
            for own, made in ((self.network.parameters(), fresh.parameters()), (self.network.buffers(), fresh.buffers())):
                for tensor, value in zip(own, made, strict=True):
                    tensor.copy_(value)

    def load_trained(self, adapt_input: str | None) -> None:
        """Load the weights that timm has for the network; the log says where the first kernel is spread over other channels than three."""
        trained = build_foreign(self.name, None, RGB, self._asked() | {"pretrained": True})
        load_opened(self, Source(f"the trained {self.name}", state=trained.state_dict()).open(), Allowed(adapt_input=adapt_input))

    def _asked(self) -> dict[str, Any]:
        return {**self.options, "features_only": True}
