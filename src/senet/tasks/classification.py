"""Classification: the loss, and what is counted while training."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class Classification:
    """Cross-entropy over classes, with label smoothing if asked (Szegedy et al., 1512.00567, section 7).

    Args:
        label_smoothing: share of the target that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of logits (N, classes) and labels (N,)."""
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class DivergenceError(Exception):
    """Report a loss that is not finite."""

    exit_code = 1


class Tally:
    """Count loss and hits of training steps without waiting for the device at each.

    Steps stay on the device until `settle`, which waits once for all of them.

    Args:
        loss: sum of the images' losses.
        hits: images whose class came first.
        images: images seen.
        seconds: time spent on them.
    """

    def __init__(self, loss: float = 0.0, hits: int = 0, images: int = 0, seconds: float = 0.0) -> None:
        self.loss = loss
        self.hits = hits
        self.images = images
        self.seconds = seconds
        self._pending: list[Tensor] = []
        self._sizes: list[int] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Note one step: its mean loss, logits (N, classes) and labels (N,)."""
        hits = (logits.detach().argmax(1) == labels).sum()
        self._pending.append(torch.stack((loss.detach().float(), hits.float())))
        self._sizes.append(len(labels))

    def settle(self) -> int | None:
        """Take the noted steps into the sums; return which of them, from 0, has the first loss that is not finite, if any has."""
        if not self._pending:
            return None
        steps = torch.stack(self._pending).tolist()
        for (loss, hits), images in zip(steps, self._sizes, strict=True):
            self.loss += loss * images
            self.hits += int(hits)
            self.images += images
        self._pending, self._sizes = [], []
        return next((index for index, (loss, _) in enumerate(steps) if not math.isfinite(loss)), None)

    def means(self) -> dict[str, float]:
        """Return the mean loss and the accuracy in percent."""
        return {"train_loss": self.loss / self.images, "train_top1": 100 * self.hits / self.images}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of settled steps, as the constructor takes them."""
        return {"loss": self.loss, "hits": self.hits, "images": self.images, "seconds": self.seconds}
