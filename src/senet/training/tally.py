"""What training logs of its steps, summed up without waiting for the device at each."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Tally:
    """Sums over the images of training steps.

    Steps stay on the device until `flush`, which waits once for all of them.

    Args:
        sums: what is logged -> its sum over images.
        images: images seen.
        seconds: time spent on them.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, images: int = 0, seconds: float = 0.0) -> None:
        self.sums = dict(sums or {})
        self.images = images
        self.seconds = seconds
        self._pending: list[Tensor] = []
        self._sizes: list[int] = []
        self._means = self._names = ()

    def add(self, means: Mapping[str, Tensor], counts: Mapping[str, Tensor], images: int) -> None:
        """Note one step: scalars that are means over its images, "loss" among them, and scalars that are sums over them."""
        self._means, self._names = tuple(means), (*means, *counts)
        self._pending.append(torch.stack([value.detach().float().reshape(()) for value in (*means.values(), *counts.values())]))
        self._sizes.append(images)

    def flush(self) -> int | None:
        """Take the noted steps into the sums; return which of them, from 0, has the first loss that is not finite, if any has."""
        if not self._pending:
            return None
        steps = [dict(zip(self._names, values, strict=True)) for values in torch.stack(self._pending).tolist()]
        for values, images in zip(steps, self._sizes, strict=True):
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + (value * images if name in self._means else value)
            self.images += images
        self._pending, self._sizes = [], []
        return next((index for index, values in enumerate(steps) if not math.isfinite(values["loss"])), None)

    def means(self) -> dict[str, float]:
        """Return the means over images, by column of metrics.csv."""
        return {f"train_{name}": value / self.images for name, value in self.sums.items()}

    def pooled(self, device: torch.device) -> "Tally":
        """Return the sums of all processes together."""
        values = torch.tensor([*self.sums.values(), self.images], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(values)
        *sums, images = values.tolist()
        return Tally(dict(zip(self.sums, sums, strict=True)), int(images), self.seconds)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of flushed steps, as the constructor takes them."""
        return {"sums": self.sums, "images": self.images, "seconds": self.seconds}

    @classmethod
    def restored(cls, state: Mapping[str, Any], primary: str) -> "Tally":
        """Return the tally of a checkpoint.

        Args:
            state: what `state_dict` returned, or the tally of a checkpoint of format 1: loss, and `hits` for the images of an accuracy.
            primary: name of the task's primary metric, which that accuracy is.
        """
        if "hits" not in state:
            return cls(**state)
        return cls({"loss": state["loss"], primary: 100.0 * state["hits"]}, state["images"], state["seconds"])
