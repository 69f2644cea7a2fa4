"""Losses of masks: cross-entropy, soft Dice, focal, each over the pixels that are not ignored.

All take maps of one-hot classes, which costs memory for each class and needs no operation that is not deterministic on a GPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from senet.data.masks import IGNORE
from senet.errors import UsageError, choice_error


@dataclass(frozen=True)
class Pixels:
    """Predictions beside the truth.

    Args:
        logs: (N, K, *S) logarithms of the classes' probabilities.
        truth: (N, K, *S) bool, one-hot; no class where a pixel is ignored.
        weights: (N, *S), what each pixel counts; 0 where it is ignored.
    """

    logs: Tensor
    truth: Tensor
    weights: Tensor

    @property
    def log_likelihood(self) -> Tensor:
        """Logarithm of the probability of the true class, (N, *S); 0 where a pixel is ignored."""
        return torch.where(self.truth, self.logs, 0.0).sum(1)


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Return (N, K, *S) bool of classes (N, *S), of any integer type; a pixel that is ignored has none."""
    labels = torch.arange(classes, device=targets.device).reshape(1, classes, *(1,) * (targets.ndim - 1))
    return targets.unsqueeze(1).to(torch.int64) == labels


def label_edges(targets: Tensor) -> Tensor:
    """Return where the labels (N, *S) change: bool, where `numpy.gradient` is not 0, which looks at both neighbours.

    These are the edges of the scSE authors' `estimate_weights_mfb`: two pixels wide where they are straight. What is ignored has none.
    """
    edges = torch.zeros_like(targets, dtype=torch.bool)
    for axis in range(1, targets.ndim):
        length = targets.shape[axis]
        if length < 2:
            continue
        places = torch.arange(length, device=targets.device)
        after, before = (targets.index_select(axis, place) for place in ((places + 1).clamp(max=length - 1), (places - 1).clamp(min=0)))
        edges |= (after != before) & (after != IGNORE) & (before != IGNORE)
    return edges


def weighted_cross_entropy(pixels: Pixels, focal_gamma: float) -> Tensor:
    """Return the weighted mean of -log p of the true class."""
    return -_mean(pixels.log_likelihood, pixels.weights)


def soft_dice_loss(pixels: Pixels, focal_gamma: float) -> Tensor:
    """Return 1 - the mean of 2 sum(p y) / (sum(p) + sum(y)) over the classes that are in the batch's truth.

    The sums go over all pixels of the batch that are not ignored. A class that is not in the truth is left out: of its Dice, 0 whatever the
    network says, nothing could be learnt. Weights of pixels do not count.
    """
    known = pixels.truth.any(1, keepdim=True)
    others = [axis for axis in range(pixels.logs.ndim) if axis != 1]
    shares = torch.where(known, pixels.logs.exp(), 0.0)
    overlap = torch.where(pixels.truth, shares, 0.0).sum(others)
    size = pixels.truth.sum(others, dtype=shares.dtype)
    present = size > 0
    dice = torch.where(present, 2 * overlap / (shares.sum(others) + size).clamp_min(torch.finfo(size.dtype).tiny), 0.0)
    count = present.sum()
    return torch.where(count > 0, 1 - dice.sum() / count.clamp_min(1), 0 * dice.sum())


def focal_loss(pixels: Pixels, focal_gamma: float) -> Tensor:
    """Return the weighted mean of -(1 - p)^gamma log p of the true class (Lin et al. 2017, equation 5 with the weights as alpha)."""
    logs = pixels.log_likelihood
    return -_mean((-torch.expm1(logs)) ** focal_gamma * logs, pixels.weights)


LOSSES: Mapping[str, Callable[[Pixels, float], Tensor]] = {"ce": weighted_cross_entropy, "dice": soft_dice_loss, "focal": focal_loss}
"""Parts of a loss by name."""


def loss_parts(loss: str) -> tuple[str, ...]:
    """Return the names of the parts of a loss such as "ce+dice".

    Raises:
        UsageError: for a name that is not there, or one twice.
    """
    names = tuple(name.strip() for name in loss.split("+"))
    for name in names:
        if name not in LOSSES:
            raise choice_error("part of segmentation.loss", name, LOSSES)
        if names.count(name) > 1:
            raise UsageError(f"segmentation.loss {loss!r} has {name} more than once")
    return names


@dataclass(frozen=True)
class MaskLoss:
    """Loss of logits (N, K, *S) and masks (N, *S).

    Args:
        parts: names of its parts, see `LOSSES`.
        class_weights: one number a class; None = 1.
        edge_weight: added to the weight of pixels on edges of the labels.
        focal_gamma: exponent of the focal loss.
    """

    parts: tuple[str, ...] = ("ce", "dice")
    class_weights: tuple[float, ...] | None = None
    edge_weight: float = 0.0
    focal_gamma: float = 2.0

    def __call__(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the sum as "loss", and beside it each of several parts as "<name>_loss"; computed in float32 of half precision."""
        values = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        truth = one_hot(targets, values.shape[1])
        pixels = Pixels(values.log_softmax(1), truth, self._weights(truth, targets, values))
        losses = {f"{name}_loss": LOSSES[name](pixels, self.focal_gamma) for name in self.parts}
        return {"loss": sum(losses.values(), start=values.new_zeros(())), **(losses if len(losses) > 1 else {})}

    def _weights(self, truth: Tensor, targets: Tensor, values: Tensor) -> Tensor:
        known = truth.any(1)
        weights = known.to(values.dtype)
        if self.class_weights is not None:
            by_class = _there(self.class_weights, values.dtype, values.device)
            weights = torch.where(truth, by_class.reshape(-1, *(1,) * (truth.ndim - 2)), 0.0).sum(1)
        return weights if not self.edge_weight else weights + self.edge_weight * (label_edges(targets) & known)


@cache
def _there(weights: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return weights on a device, sent there once: a step that is captured as a graph sends nothing."""
    return torch.tensor(weights, dtype=dtype, device=device)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean; 0 where nothing has a weight."""
    return (values * weights).sum() / weights.sum().clamp_min(torch.finfo(values.dtype).tiny)
