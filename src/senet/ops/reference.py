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


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a 1x1 convolution in the memory format of x, in any number of dimensions. x: (N, C, *S), weight: (D, C, 1, 1) -> (N, D, *S)."""
    image = x.flatten(2, -2) if x.ndim > 4 else x[(...,) + (None,) * (4 - x.ndim)]
    out = F.conv2d(image, weight, bias)
    return out.reshape(out.shape[:2] + x.shape[2:])


def excite_positions(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Turn every position into a gate: q = sigmoid(w x) (1803.02579, sSE). x: (N, C, *S), weight: (1, C, 1, 1) -> (N, 1, *S)."""
    return torch.sigmoid(pointwise(x, weight, bias))


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


def look(image: Tensor, weight: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """Filter an image of both squeezes, normalise, average the maps, read by rows. (N, 1, P, Q), weight: (m, 1, p, q) -> (N, features)."""
    return norm(F.conv2d(image, weight)).mean(1).flatten(1)


Affine = tuple[Tensor, Tensor | None]
"""Weight and bias of a linear layer."""


def compete(u: Tensor, x: Tensor, squeeze_u: Affine, squeeze_x: Affine, excite: Affine) -> Tensor:
    """Excite branch and shortcut jointly: s = sigmoid(We [relu(Wu u), relu(Wx x)]). u, x: (N, C), Wu, Wx: (h, C), We: (C, 2h) -> (N, C)."""
    hidden = torch.relu(torch.cat((fully_connected(u, *squeeze_u), fully_connected(x, *squeeze_x)), 1))
    return torch.sigmoid(fully_connected(hidden, *excite))
