"""The definitions of Squeeze-and-Excitation, with the equation numbers of the paper (Hu et al., 1709.01507v4)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

GATE = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "hard_sigmoid": F.hardsigmoid,
}
"""The non-linearity that makes the gate: sigmoid in the paper, the others in its Table 12 (hard-sigmoid: MobileNetV3)."""


def squeeze_avg(x: Tensor) -> Tensor:
    """Average every channel over its positions (eq. 2). x: (N, C, *S) -> (N, C)."""
    return x.flatten(2).mean(2) if x.ndim > 2 else x


def squeeze_max(x: Tensor) -> Tensor:
    """Take every channel's maximum over its positions (section 6.2). x: (N, C, *S) -> (N, C)."""
    return x.amax(tuple(range(2, x.ndim))) if x.ndim > 2 else x


def no_squeeze(x: Tensor) -> Tensor:
    """Keep every position: the gate is then a map of its own (section 7.1, NoSqueeze). x: (N, C, *S) -> (N, C, *S)."""
    return x


SQUEEZE: dict[str, Callable[[Tensor], Tensor]] = {"avg": squeeze_avg, "max": squeeze_max, "none": no_squeeze}
"""What summarises a channel (Table 11), or nothing (Table 16)."""


def fully_connected(z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a linear layer over the channels (a 1x1 convolution). z: (N, C, *S), weight: (D, C), bias: (D,) -> (N, D, *S)."""
    return F.linear(z.movedim(1, -1), weight, bias).movedim(-1, 1)


def excite(z: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None, gate: str = "sigmoid") -> Tensor:
    """Turn squeezed channels into gates: s = gate(W2 relu(W1 z)) (eq. 3). z: (N, C, *S), w1: (h, C), w2: (C, h) -> (N, C, *S)."""
    return GATE[gate](fully_connected(torch.relu(fully_connected(z, w1, b1)), w2, b2))


def scale(x: Tensor, s: Tensor) -> Tensor:
    """Multiply every channel by its gate (eq. 4). x: (N, C, *S), s: (N, C) or x's shape -> x's shape."""
    return x * s[(...,) + (None,) * (x.ndim - s.ndim)]
