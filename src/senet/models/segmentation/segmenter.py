"""Networks from images to a class at every position: maps of the image's size, and a 1x1 convolution."""

from torch import Tensor, nn

from senet.models.network import Network

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
"""Sides of an image -> its convolution."""


class Segmenter(Network):
    """Network from images (N, in_channels, H, W), or volumes (N, in_channels, D, H, W), to logits (N, num_classes, H, W) of their size.

    Sub-classes build the stages, the head, a 1x1 convolution, and `forward_features`, whose map has the size of the image.
    """

    classifier: nn.Module
    head = "classifier"
    conv_init = "fan_in"  # decoders have twice as many inputs as outputs

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last map (N, C, H, W) to logits (N, num_classes, H, W)."""
        return self.classifier(x)

    @staticmethod
    def head_layer(like: Tensor, num_classes: int) -> nn.Module:
        """Return a new 1x1 convolution with as many inputs as the weight `like`, of its type and on its device."""
        return CONV[like.ndim - 2](like.shape[1], num_classes, 1, device=like.device, dtype=like.dtype)
