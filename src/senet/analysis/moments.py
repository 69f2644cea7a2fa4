"""Mean and spread per class and channel of values that arrive in batches, without keeping them."""

import torch
from torch import Tensor
from torch.nn import functional


class ClassMoments:
    """Statistics of growing data, merged by the update of Chan, Golub and LeVeque (1979), in float64: no cancellation, whatever the mean.

    Attributes:
        count: values seen of each class, or the sum of their weights, (K,); K grows with the labels.
        mean: their mean, (K, C).
    """

    def __init__(self, channels: int) -> None:
        self.count = torch.zeros(0, dtype=torch.float64)
        self.mean = torch.zeros(0, channels, dtype=torch.float64)
        self._squares = torch.zeros(0, channels, dtype=torch.float64)

    @property
    def std(self) -> Tensor:
        """Population standard deviation within each class, (K, C)."""
        return (self._squares / self.count.clamp(min=1)[:, None]).sqrt()

    def update(self, values: Tensor, labels: Tensor) -> None:
        """Take in one batch.

        Args:
            values: (N, C), of any floating type and device.
            labels: (N,) classes from 0, on the CPU.
        """
        values = values.to("cpu", torch.float64)
        self._grow(int(labels.max()) + 1)
        count = labels.bincount(minlength=len(self.count)).double()
        mean = torch.zeros_like(self.mean).index_add_(0, labels, values) / count.clamp(min=1)[:, None]
        squares = torch.zeros_like(self.mean).index_add_(0, labels, (values - mean[labels]).square())
        self._merge(count, mean, squares)

    def update_weighted(self, values: Tensor, weights: Tensor) -> None:
        """Take in one batch whose values belong to several classes, each as often as its weight says.

        Args:
            values: (N, C), of any floating type and device.
            weights: (N, K) whole numbers from 0, on the CPU.
        """
        values, weights = values.to("cpu", torch.float64), weights.double()
        self._grow(weights.shape[1])
        weights = functional.pad(weights, (0, len(self.count) - weights.shape[1]))
        count = weights.sum(0)
        mean = weights.T @ values / count.clamp(min=1)[:, None]
        squares = torch.zeros_like(self.mean)
        for label in count.nonzero()[:, 0].tolist():  # not all at once: N x K x C values are many for many classes
            squares[label] = weights[:, label] @ (values - mean[label]).square()
        self._merge(count, mean, squares)

    def _merge(self, count: Tensor, mean: Tensor, squares: Tensor) -> None:
        share = count / (self.count + count).clamp(min=1)
        step = mean - self.mean
        self._squares += squares + step.square() * (self.count * share)[:, None]
        self.mean += step * share[:, None]
        self.count += count

    def _grow(self, classes: int) -> None:
        extra = max(0, classes - len(self.count))
        self.count = torch.cat([self.count, self.count.new_zeros(extra)])
        self.mean = torch.cat([self.mean, self.mean.new_zeros(extra, self.mean.shape[1])])
        self._squares = torch.cat([self._squares, self._squares.new_zeros(extra, self._squares.shape[1])])
