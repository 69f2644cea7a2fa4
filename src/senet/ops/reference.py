"""The definitions of the blocks.

Equation numbers are those of Squeeze-and-Excitation Networks (Hu et al., 1709.01507v4). Spatial and joint recalibration: Roy et al.,
1803.02579 and 1808.08127. Competitive recalibration of branch and shortcut: Y. Hu et al., 1807.08920, in the form of its authors' code.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def hard_sigmoid(z: Tensor) -> Tensor:
    """Approach the sigmoid by pieces of lines: relu6(z + 3) / 6 (MobileNetV3). torch's own has a float32 constant in its derivative."""
    return F.relu6(z + 3) / 6


GATE = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "hard_sigmoid": hard_sigmoid,
}
"""The non-linearity that makes the gate: sigmoid in the paper, the others in its Table 12 (hard-sigmoid: MobileNetV3)."""


Layer = Callable[[Tensor], Tensor]
"""Linear layer over the last dimension (an FC), or convolution of an image (N, C, H, W)."""


def squeeze_avg(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Average every channel over its positions, summing in this type (eq. 2). x: (N, C, *S) -> (N, C)."""
    return cast(x, dtype) if x.ndim == 2 else x.flatten(2).mean(2, dtype=None if dtype == x.dtype else dtype)


def squeeze_max(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Take every channel's maximum over its positions (section 6.2). x: (N, C, *S) -> (N, C)."""
    return cast(x.amax(tuple(range(2, x.ndim))) if x.ndim > 2 else x, dtype)


def no_squeeze(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Keep every position: the gate is then a map of its own (section 7.1, NoSqueeze). x: (N, C, *S) -> (N, C, *S)."""
    return cast(x, dtype)


def cast(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return x in this type; None = its own."""
    return x if dtype is None else x.to(dtype)


SQUEEZE: dict[str, Callable[[Tensor, torch.dtype | None], Tensor]] = {"avg": squeeze_avg, "max": squeeze_max, "none": no_squeeze}
"""What summarises a channel (Table 11), or nothing (Table 16)."""


def fully_connected(z: Tensor, layer: Layer) -> Tensor:
    """Apply a linear layer over the channels (a 1x1 convolution). z: (N, C, *S) -> (N, D, *S)."""
    last = z.ndim - 1  # by its number: torch's older ONNX exporter writes -1 as it is, which no engine takes
    return layer(z) if last == 1 else layer(z.movedim(1, last)).movedim(last, 1)


def excite(z: Tensor, fc1: Layer, fc2: Layer, gate: str = "sigmoid") -> Tensor:
    """Turn squeezed channels into gates: s = gate(W2 relu(W1 z)) (eq. 3). z: (N, C, *S) -> (N, C, *S)."""
    return GATE[gate](fully_connected(torch.relu(fully_connected(z, fc1)), fc2))


def scale(x: Tensor, s: Tensor) -> Tensor:
    """Multiply every channel by its gate (eq. 4). x: (N, C, *S), s: (N, C) or x's shape -> x's shape."""
    return x * s[(...,) + (None,) * (x.ndim - s.ndim)]


def pointwise(x: Tensor, conv: Layer) -> Tensor:
    """Apply a 1x1 convolution in the memory format of x, in any number of dimensions. x: (N, C, *S) -> (N, D, *S)."""
    image = x.flatten(2, -2) if x.ndim > 4 else x[(...,) + (None,) * (4 - x.ndim)]
    out = conv(image)
    return out.reshape(out.shape[:2] + x.shape[2:])


def excite_positions(x: Tensor, conv: Layer) -> Tensor:
    """Turn every position into a gate: q = sigmoid(w x) (1803.02579, sSE). x: (N, C, *S), conv: C -> 1 channels -> (N, 1, *S)."""
    return torch.sigmoid(pointwise(x, conv))


def concat(c: Tensor, s: Tensor) -> Tensor:
    """Put both recalibrated maps side by side; a 1x1 convolution 2C -> C follows. (N, C, *S) twice -> (N, 2C, *S)."""
    return torch.cat((c, s), 1)


COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"add": torch.add, "max": torch.maximum, "multiply": torch.mul, "concat": concat}
"""How scSE joins the channel-recalibrated and the spatially recalibrated map: sum (1803.02579) or the other three (1808.08127)."""


def pair(u: Tensor, x: Tensor) -> Tensor:
    """Set the squeezed branch beside the squeezed shortcut. u, x: (N, C) -> image (N, 1, C, 2)."""
    return torch.stack((u, x), -1).unsqueeze(1)


def fold(pairs: Tensor, columns: int) -> Tensor:
    """Fold the channels to rows of `columns`, the branch in even rows, the shortcut in odd ones. (N, 1, C, 2) -> (N, 1, 2C/W, W)."""
    return pairs.unflatten(2, (-1, columns)).transpose(3, 4).flatten(2, 3)


def filter_pairs(image: Tensor, conv: Layer, norm: Layer) -> Tensor:
    """Filter an image of both squeezes, normalise, average the maps, read by rows. (N, 1, P, Q) -> (N, features)."""
    return norm(conv(image)).mean(1).flatten(1)


def compete(u: Tensor, x: Tensor, fc_u: Layer, fc_x: Layer, fc_out: Layer) -> Tensor:
    """Excite branch and shortcut jointly: s = sigmoid(We [relu(Wu u), relu(Wx x)]). u, x: (N, C), Wu, Wx: (h, C), We: (C, 2h) -> (N, C)."""
    hidden = torch.relu(torch.cat((fully_connected(u, fc_u), fully_connected(x, fc_x)), 1))
    return torch.sigmoid(fully_connected(hidden, fc_out))
