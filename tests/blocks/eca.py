"""A block that this package does not have: efficient channel attention (Wang et al., 1910.03151), as a user would add it."""

import math

import torch
from torch import Tensor, nn

from senet.spec import PLACEMENTS


class ECA(nn.Module):
    """Recalibration of channels by gates computed from their neighbours: s = sigmoid(conv1d(mean(x)))."""

    title = "ECA"
    paper = ("Wang, Wu, Zhu, Li, Zuo, Hu: ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", "1910.03151")
    placements = PLACEMENTS
    sees_shortcut = False
    squeezed_maps = scaled_maps = 1
    has_channel_gates = True
    stateless_options: dict[str, str] = {}
    tail_gates = staticmethod(lambda gain=1.0: None)

    def __init__(self, channels: int, *, kernel: int | None = None) -> None:
        super().__init__()
        kernel = kernel or int(math.log2(channels) / 2 + 0.5) | 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def start_as_identity(self) -> float:
        nn.init.zeros_(self.conv.weight)
        return 2.0

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x.flatten(2).mean(2).unsqueeze(1)).squeeze(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)[..., None, None]
