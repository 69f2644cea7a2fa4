"""Covariance of gates that arrive in batches, without keeping them."""

import torch
from torch import Tensor


class GateCovariance:
    """Mean and covariance of channels, merged by the update of Chan, Golub and LeVeque (1979), in float64.

    Every image has the same weight, spread evenly over its positions.

    Attributes:
        count: images seen.
        mean: (C,) mean of each channel.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self._scatter = torch.zeros(channels, channels, dtype=torch.float64)

    @property
    def covariance(self) -> Tensor:
        """Population covariance of the channels over images and positions, (C, C)."""
        return self._scatter / max(self.count, 1)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each channel over images and positions (population), (C,)."""
        return self.covariance.diagonal().sqrt()

    @property
    def effective_rank(self) -> float:
        """In how many directions the gates vary; 0 if they do not.

        It is the exponential of the entropy of the normalised eigenvalues of the covariance (Roy and Vetterli, EUSIPCO 2007, who take the
        singular values of a matrix): k equal directions give k.
        """
        values = torch.linalg.eigvalsh(self.covariance).clamp(min=0)
        if not (total := values.sum()) > 0:
            return 0.0
        return torch.special.entr(values / total).sum().exp().item()

    def update(self, values: Tensor) -> None:
        """Take in one batch, (N, C, P) of float64 on the CPU: the gates of N images at P positions."""
        images, _, positions = values.shape
        mean = values.mean((0, 2))
        centred = (values - mean[:, None]).transpose(0, 1).flatten(1)
        step, total = mean - self.mean, self.count + images
        self._scatter += centred @ centred.T / positions + torch.outer(step, step) * (self.count * images / total)
        self.mean += step * (images / total)
        self.count = total
