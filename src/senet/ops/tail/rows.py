"""What a tail computes with and what its passes leave to each other, by name and as rows for autograd and compilers."""

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from senet.ops.tail.batchnorm import Normalization, Statistics
from senet.ops.tail.gates import Excited

TensorRow = tuple[Tensor | None, ...]
"""Tensors in a fixed order; None where a tail has none."""


@dataclass(frozen=True)
class TailTensors:
    """Parameters and running statistics of a tail, or their gradients; None where it has none.

    Args:
        gamma: weight of the branch's normalisation, (C,).
        beta: its bias, (C,).
        running_mean: (C,).
        running_var: (C,).
        shortcut_gamma: weight of the shortcut's normalisation, (C,).
        shortcut_beta: its bias, (C,).
        shortcut_running_mean: (C,).
        shortcut_running_var: (C,).
        w1: weight of the first FC, (h, C).
        b1: its bias, (h,).
        w2: weight of the second FC, (C, h).
        b2: its bias, (C,).
        position_weight: of the projection of the positions, (C,).
        position_bias: (1,).
    """

    gamma: Tensor | None = None
    beta: Tensor | None = None
    running_mean: Tensor | None = None
    running_var: Tensor | None = None
    shortcut_gamma: Tensor | None = None
    shortcut_beta: Tensor | None = None
    shortcut_running_mean: Tensor | None = None
    shortcut_running_var: Tensor | None = None
    w1: Tensor | None = None
    b1: Tensor | None = None
    w2: Tensor | None = None
    b2: Tensor | None = None
    position_weight: Tensor | None = None
    position_bias: Tensor | None = None

    def row(self) -> TensorRow:
        """Return them in the order of the fields."""
        norms = self.gamma, self.beta, self.running_mean, self.running_var
        shortcut = self.shortcut_gamma, self.shortcut_beta, self.shortcut_running_mean, self.shortcut_running_var
        return (*norms, *shortcut, self.w1, self.b1, self.w2, self.b2, self.position_weight, self.position_bias)

    def parameters(self) -> TensorRow:
        """Return them as a row without the running statistics, which the backward pass has no use for and which the step changes."""
        norms = self.gamma, self.beta, None, None, self.shortcut_gamma, self.shortcut_beta, None, None
        return (*norms, self.w1, self.b1, self.w2, self.b2, self.position_weight, self.position_bias)


TENSORS = tuple(field.name for field in fields(TailTensors))
"""Names of the tensors of a tail, in the order of their rows."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of what a tail took, in at least float32 but for the maps: of branch, shortcut and tensors."""

    x: Tensor
    shortcut: Tensor | None
    tensors: TailTensors

    def row(self, tensors: TailTensors) -> list[Tensor | None]:
        """Return the gradients of these tensors, each in its tensor's type, None for those that are None."""
        pairs = zip(self.tensors.row(), tensors.row(), strict=True)
        return [None if of is None or v is None else v if v.dtype == of.dtype else v.to(of.dtype) for v, of in pairs]


@dataclass(frozen=True)
class Saved:
    """Values of a tail's forward pass that its backward pass needs.

    Args:
        x: the branch, (N, C, H, W).
        shortcut: (N, C, H, W), if it is projected.
        relu_mask: of the output's ReLU, as the passes made it.
        means: of each map of the branch, (N, C).
        normalization: what the branch's normalisation did.
        shortcut_normalization: what the shortcut's did.
        excited: the gates of the channels.
        position_gates: (N, 1, H, W).
        has_shortcut: whether there is one, projected or not.
    """

    x: Tensor
    shortcut: Tensor | None
    relu_mask: Tensor | None
    means: Tensor
    normalization: Normalization
    shortcut_normalization: Normalization | None
    excited: Excited | None
    position_gates: Tensor | None
    has_shortcut: bool

    def row(self) -> TensorRow:
        """Return the tensors in the order of `SAVED`."""
        n, s, e = self.normalization, self.shortcut_normalization, self.excited
        shortcut = (None, None, None) if s is None else (s.mean, s.inverse_std, s.scale)
        excited = (None, None, None) if e is None else (e.squeeze, e.hidden, e.gates)
        maps = self.x, self.shortcut, self.relu_mask
        return (*maps, self.means, n.mean, n.inverse_std, n.scale, *shortcut, *excited, self.position_gates)

    @classmethod
    def of(cls, row: Any, *, has_shortcut: bool) -> "Saved":
        """Return what `row` took apart."""
        x, shortcut, mask, means, mean, inverse_std, scale, s_mean, s_inverse_std, s_scale, squeeze, hidden, gates, positions = row
        normalization = Normalization(mean, inverse_std, scale)
        of_shortcut = None if s_mean is None else Normalization(s_mean, s_inverse_std, s_scale)
        excited = None if squeeze is None else Excited(squeeze, hidden, gates)
        return cls(x, shortcut, mask, means, normalization, of_shortcut, excited, positions, has_shortcut)


SAVED = (
    *("x", "shortcut", "relu_mask", "means", "mean", "inverse_std", "scale"),
    *("shortcut_mean", "shortcut_inverse_std", "shortcut_scale", "squeeze", "hidden", "channel_gates", "position_gates"),
)
"""Names of what is saved, in the order of its rows; means, squeeze and channels' gates are (N, C), hidden units (N, h), statistics (C,)."""


@dataclass(frozen=True)
class Output:
    """Results of a tail's forward pass: y (N, C, H, W), what it saved, and the statistics of the batch, None where unused."""

    y: Tensor
    saved: Saved
    statistics: Statistics | None
    shortcut_statistics: Statistics | None

    def row(self) -> TensorRow:
        """Return y, and mean and variance of the branch and of the shortcut."""
        means = (None, None) if self.statistics is None else (self.statistics.mean, self.statistics.var)
        shortcut = (None, None) if self.shortcut_statistics is None else (self.shortcut_statistics.mean, self.shortcut_statistics.var)
        return (self.y, *means, *shortcut)
