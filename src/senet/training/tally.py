"""What training logs of its steps, summed up without waiting for the device at each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Figures:
    """Figures that a step is logged by, still on the device.

    Args:
        values: (K,) float32, the means first.
        means: names of those that are means over the step's images, "loss" among them.
        sums: names of those that are sums over them.
    """

    values: Tensor
    means: tuple[str, ...]
    sums: tuple[str, ...] = ()

    @classmethod
    def of(cls, losses: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> "Figures":
        """Return a task's losses, means over images, and its counts, sums over them, as one tensor."""
        values = torch.stack([value.detach().float().reshape(()) for value in (*losses.values(), *counts.values())])
        return cls(values, tuple(losses), tuple(counts))


@dataclass(frozen=True)
class _OnTheWay:
    """Figures of steps that are being copied to the host.

    Args:
        values: (steps, K) on the host, of use once the copy is done.
        images: of each step.
        copied: event after the copy; None for one that was done at once.
    """

    values: Tensor
    images: list[int]
    copied: Any


class Tally:
    """Sums over the images of training steps.

    Steps stay on the device until `flush`, which waits once for all of them, or `collect`, which waits for none.

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
        self._on_the_way: _OnTheWay | None = None
        self._means = self._names = ()

    @property
    def waiting(self) -> int:
        """How many steps are noted and not in the sums yet."""
        return len(self._sizes) + (len(self._on_the_way.images) if self._on_the_way else 0)

    def add(self, figures: Figures, images: int) -> None:
        """Note one step over so many images."""
        self._means, self._names = figures.means, (*figures.means, *figures.sums)
        self._pending.append(figures.values)
        self._sizes.append(images)

    def flush(self) -> int | None:
        """Take the noted steps into the sums; return which of them, from 0, has the first loss that is not finite, if any has."""
        taken, bad = 0, None
        while waiting := self.waiting:
            found = self._receive(wait=True)
            bad = taken + found if bad is None and found is not None else bad
            taken += waiting - self.waiting
        return bad

    def collect(self) -> int | None:
        """Take in the steps whose figures have arrived, and send for those of the others; else as `flush`."""
        return self._receive(wait=False)

    def _receive(self, *, wait: bool) -> int | None:
        self._send()
        sent = self._on_the_way
        if sent is None:
            return None
        if sent.copied is not None:
            if not wait and not sent.copied.query():
                return None
            sent.copied.synchronize()
        self._on_the_way = None
        steps = [dict(zip(self._names, values, strict=True)) for values in sent.values.tolist()]
        for values, images in zip(steps, sent.images, strict=True):
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + (value * images if name in self._means else value)
            self.images += images
        return next((index for index, values in enumerate(steps) if not math.isfinite(values["loss"])), None)

    def _send(self) -> None:
        """Send the steps that are noted to the host, unless others are on their way."""
        if self._on_the_way is not None or not self._pending:
            return
        values, copied = torch.stack(self._pending), None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values, copied = host.copy_(values, non_blocking=True), torch.cuda.Event()
            copied.record()
        self._on_the_way = _OnTheWay(values, self._sizes, copied)
        self._pending, self._sizes = [], []

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
