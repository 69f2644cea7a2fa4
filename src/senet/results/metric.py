"""What is measured of predictions, as data: how it is called, and which way is better. No torch."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """Figure by which predictions are judged.

    Args:
        name: its key in metrics.csv and results, such as "top1".
        title: what people read, such as "top-1".
        unit: such as "%"; empty for a plain number.
        higher_is_better: whether a larger value is the better one.
    """

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool = True

    def better(self, value: float, other: float) -> bool:
        """Say whether `value` is strictly better than `other`."""
        return value > other if self.higher_is_better else value < other

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.higher_is_better else min(values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)
