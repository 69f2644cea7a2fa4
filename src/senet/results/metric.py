"""What is measured of predictions, as data: how it is called, how it reads, and which way is better. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

from senet.measuring.numbers import signed, with_unit
from senet.schema import FLAG, integer, record, text

POINTS = {"%": "points"}
"""Unit of a metric -> unit of its differences, where the two are not the same."""


@dataclass(frozen=True)
class Metric:
    """Figure by which predictions are judged.

    Args:
        name: its key in metrics.csv and results, such as "dice".
        title: what people read, such as "Dice score".
        unit: such as "%"; empty for a plain number.
        higher_is_better: whether a larger value is the better one.
        accuracy: whether it is the share of the images that are predicted rightly, so that each image has the same weight in it.
        decimals: how many decimals people read.
    """

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool = True
    accuracy: bool = False
    decimals: int = 2

    @property
    def column(self) -> str:
        """Its column of metrics.csv on validation images."""
        return f"val_{self.name}"

    @property
    def heading(self) -> str:
        """Title and unit over a column or a chart: "Dice score, %"."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def scale(self) -> str:
        """What its differences are told in: "points of Dice score"."""
        return f"{self._points} of {self.title}" if self.unit else self.title

    @property
    def direction(self) -> str:
        """What a reader of the title has to know beside it; nothing where higher is better, as anybody expects."""
        return "" if self.higher_is_better else " (lower is better)"

    def better(self, value: float, other: float) -> bool:
        """Return whether `value` is strictly better than `other`."""
        return value > other if self.higher_is_better else value < other

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values; one that is not a number is behind all others."""
        known = [value for value in values if not isnan(value)]
        return (max if self.higher_is_better else min)(known, default=nan)

    def difference(self, value: float) -> str:
        """Write the size of a difference with its unit: "0.28 points"."""
        return with_unit(abs(value), self._points, self.decimals)

    def signed(self, value: float) -> str:
        """Write a difference with its sign and without its unit: "+0.28"."""
        return signed(value, self.decimals)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Metric":
        """Build a metric from what `to_dict` returned.

        Raises:
            UsageError: if it is something else.
        """
        METRIC.check(tree, "metric")
        return cls(**tree)

    @property
    def _points(self) -> str:
        return POINTS.get(self.unit, self.unit)


METRIC = record(
    {
        "name": text(100, low=1),
        "title": text(200),
        "unit": text(50),
        "higher_is_better": FLAG,
        "accuracy": FLAG,
        "decimals": integer(0, 20),
    },
    needed=("name", "title"),
)
"""The rule for a metric as plain data."""


def top_accuracy(k: int) -> Metric:
    """Return the share of images, in percent, whose class is among the k that were found likeliest."""
    return Metric(f"top{k}", f"top-{k}", "%", accuracy=True)


ACCURACIES = (top_accuracy(1), top_accuracy(5))
"""The metrics of a file that names none: it was written when every task was classification."""
