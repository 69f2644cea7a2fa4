"""Running sums from which the statistics of one block's gates follow."""

import torch
from torch import Tensor

from senet.analysis.covariance import GateCovariance
from senet.analysis.moments import ClassMoments

NEAR_ZERO, NEAR_ONE = 0.05, 0.95
"""A gate whose size is below the one, or that is above the other, counts as saturated; those of tanh may be negative."""


class GateSums:
    """Sums over the gates of one block.

    Args:
        channels: gates C that an image has at a position.
    """

    def __init__(self, channels: int) -> None:
        self.by_class = ClassMoments(channels)
        self.covariance = GateCovariance(channels)
        self._over_positions = torch.zeros(channels, dtype=torch.float64)
        self._saturated = torch.zeros(2, dtype=torch.float64)

    @property
    def saturated(self) -> tuple[float, float]:
        """Shares of the gates near 0 and near 1."""
        low, high = (self._saturated / max(self.covariance.count, 1)).tolist()
        return low, high

    @property
    def variances(self) -> tuple[Tensor, Tensor, Tensor]:
        """Parts of the variance of each channel (C,) between classes, between images of a class, and between positions of an image."""
        count, mean = self.by_class.count[:, None], self.by_class.mean
        total = count.sum().clamp(min=1)
        between = (count * (mean - (count * mean).sum(0) / total).square()).sum(0) / total
        return between, (count * self.by_class.std.square()).sum(0) / total, self._over_positions / total

    def update(self, gate: Tensor, labels: Tensor) -> None:
        """Take in the gates of one batch.

        Args:
            gate: (N, C), or (N, C, *S) with gates of positions.
            labels: (N,) classes, or (N, K) counts of what each image holds of every class, on the CPU.
        """
        values = gate.detach().to("cpu", torch.float64)
        values = values.flatten(2) if values.ndim > 2 else values[..., None]
        means = values.mean(2)
        (self.by_class.update_weighted if labels.ndim == 2 else self.by_class.update)(means, labels)
        held = labels.sum(1).double() if labels.ndim == 2 else torch.ones(len(labels), dtype=torch.float64)
        self._over_positions += held @ (values - means[..., None]).square().mean(2)
        self._saturated += torch.stack(
            [(values.abs() < NEAR_ZERO).double().mean((1, 2)).sum(), (values > NEAR_ONE).double().mean((1, 2)).sum()]
        )
        self.covariance.update(values)


class Firing:
    """Shares of images for which the hidden units of one block are above 0.

    Args:
        layers: how many layers give the units, side by side.
    """

    def __init__(self, layers: int) -> None:
        self._sums: list[Tensor | float] = [0.0] * layers
        self._counts = [0] * layers

    def update(self, index: int, hidden: Tensor) -> None:
        """Take in what layer `index` gives before its ReLU, (N, *S, h)."""
        fires = (hidden.detach() > 0).double().flatten(1, -2).mean(1) if hidden.ndim > 2 else (hidden.detach() > 0).double()
        self._sums[index] = self._sums[index] + fires.sum(0).cpu()
        self._counts[index] += len(fires)

    @property
    def shares(self) -> Tensor | None:
        """Share of each unit over images and positions, (hidden,); None if a layer did not run."""
        if not all(self._counts):
            return None
        return torch.cat([torch.as_tensor(total) / count for total, count in zip(self._sums, self._counts, strict=True)])
