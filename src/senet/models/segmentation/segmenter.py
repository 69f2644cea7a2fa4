"""Networks from images to a class at every position: maps of the image's size, and a 1x1 convolution."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.models.network import Network

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
"""Sides of an image -> its convolution."""


class Segmenter(Network):
    """Network from images (N, in_channels, H, W), or volumes (N, in_channels, D, H, W), to logits (N, num_classes, H, W) of their size.

    Sub-classes build the stages and the head, a 1x1 convolution, and give the `maps`.
    """

    classifier: nn.Module
    head = "classifier"
    conv_init = "fan_in"  # decoders have twice as many inputs as outputs
    dropout: float

    @abstractmethod
    def maps(self, x: Tensor) -> list[Tensor]:
        """Return maps of images, as `feature_info` tells them; the last has their size."""

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the last map (N, C, H, W)."""
        return self.maps(x)[-1]

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last map (N, C, H, W) to logits (N, num_classes, H, W)."""
        return self.classifier(x)

    def drop(self, x: Tensor) -> Tensor:
        """Drop channels of a map in training, a share of `dropout`."""
        return torch.feature_dropout(x, self.dropout, self.training) if self.dropout and self.training else x

    @staticmethod
    def head_layer(like: Tensor, num_classes: int) -> nn.Module:
        """Return a new 1x1 convolution with as many inputs as the weight `like`, of its type and on its device."""
        return CONV[like.ndim - 2](like.shape[1], num_classes, 1, device=like.device, dtype=like.dtype)


def check_dropout(share: float) -> None:
    """Raise UsageError unless a share of the channels is from 0 to below 1."""
    if not 0 <= share < 1:
        raise UsageError(f"dropout is a share of the channels, from 0 to below 1, got {share!r}")
