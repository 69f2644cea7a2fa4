"""How good a network is on a fixed set of images, and what a change of it loses, with what chance leaves open."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from senet.measuring.numbers import signed

RESAMPLES = 4000
"""How many sets of images the bootstrap draws."""

DRAWN_TOGETHER = 4_000_000
"""How many counts the bootstrap holds at once."""


@dataclass(frozen=True)
class Scores:
    """Primary metric of a network over a fixed set of images.

    Args:
        value: the metric, in its unit.
        images: (N,) the metric of each image, always in the same order: `value` is their mean; None where it is no such mean.
        higher_is_better: whether a larger value is the better one.
        metric: what people read: "top-1".
        unit: such as "%"; empty for a plain number.

    Raises:
        ValueError: if `value` is not the mean of the images.
    """

    value: float
    images: Tensor | None = field(default=None, repr=False, compare=False)
    higher_is_better: bool = True
    metric: str = "top-1"
    unit: str = "%"

    def __post_init__(self) -> None:
        if self.images is None:
            return
        mean = float(self.images.double().mean())
        if not np.isclose(mean, self.value, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise ValueError(f"the mean of the {len(self.images)} images is {mean:g}, and the metric {self.value:g}")


Measure = Callable[[nn.Module], Scores]
"""Scores of a network, on the same images whenever it is called."""


@dataclass(frozen=True)
class Loss:
    """Harm that a change of a network does to its metric.

    Args:
        points: how much worse the metric became, in its unit; negative where it became better.
        low: lower end of the 95 % interval over images; None without scores by image.
        high: its upper end.
        unit: "points" of a metric in percent, else the metric's unit.
    """

    points: float
    low: float | None = None
    high: float | None = None
    unit: str = "points"

    def words(self, digits: int = 2) -> tuple[str, str]:
        """Write "0.02" and "(-0.05 to 0.09)", empty without an interval; a metric below 1 wants more digits."""
        points, low, high = ("" if value is None else signed(value, digits).lstrip("+") for value in (self.points, self.low, self.high))
        return points, f"({low} to {high})" if low else ""

    def text(self, digits: int = 2) -> str:
        """Write "0.02 points (-0.05 to 0.09)"."""
        points, interval = self.words(digits)
        return " ".join(filter(None, (points, self.unit, interval)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def points_lost(before: Scores, after: Scores, *, seed: int = 0) -> Loss:
    """Compare a changed network with the one that it comes from, image by image.

    The interval is the percentile bootstrap of the mean difference (Efron and Tibshirani, 1993, chapter 13): each image is compared with
    itself, so that what makes images easy or hard cancels. Where no image changes, both ends are 0: then 3 / N is what N images leave open
    of the share that would.

    Args:
        before: scores of the network as it was.
        after: scores of the changed one, on the same images.
        seed: of the sets of images that are drawn.

    Raises:
        ValueError: if the two are of different metrics, or numbers of images.
    """
    if (before.metric, before.unit, before.higher_is_better) != (after.metric, after.unit, after.higher_is_better):
        raise ValueError(f"{before.metric} cannot be compared with {after.metric}")
    sign = 1 if before.higher_is_better else -1
    points, unit = sign * (before.value - after.value), "points" if before.unit == "%" else before.unit
    if before.images is None or after.images is None:
        return Loss(points, unit=unit)
    if len(before.images) != len(after.images):
        raise ValueError(f"{len(before.images)} images cannot be compared with {len(after.images)}")
    differences = sign * (before.images.double() - after.images.double())
    return Loss(points, *_bootstrap(differences.cpu().numpy(), seed), unit=unit)


def _bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean; images of one value are drawn together, as many of them as a multinomial says."""
    distinct, counts = np.unique(values, return_counts=True)
    draw = np.random.default_rng(seed)
    step = max(1, DRAWN_TOGETHER // len(distinct))
    sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
    means = [draw.multinomial(len(values), counts / len(values), size) @ distinct / len(values) for size in sizes]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)
