"""Curves that a task tells of its predictions beside metrics and tables, such as precision over recall. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from senet.errors import UsageError
from senet.schema import finite, items, record, table, text


@dataclass(frozen=True)
class CurveChart:
    """Curves over one quantity.

    Args:
        x: what is along the horizontal axis, with its unit: "recall %".
        y: what is along the vertical one: "precision %".
        at: values of x, from the lowest up; two or more.
        lines: name of each curve -> its values, one for each of x, finite. The first one tells of all, others of parts, such as classes.

    Raises:
        UsageError: if there is no curve, or one has another length than `at`.
    """

    x: str
    y: str
    at: tuple[float, ...]
    lines: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        if not self.lines:
            raise UsageError("a chart needs one curve or more, got none")
        for name, values in self.lines.items():
            if len(values) != len(self.at):
                raise UsageError(f"the curve {name!r} has {len(values)} values at {len(self.at)} places")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"x": self.x, "y": self.y, "at": list(self.at), "lines": {name: list(values) for name, values in self.lines.items()}}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "CurveChart":
        """Build a chart from what `to_dict` returned and `CURVES` holds for.

        Raises:
            UsageError: if a curve has another length than `at`.
        """
        return cls(tree["x"], tree["y"], tuple(tree["at"]), {name: tuple(values) for name, values in tree["lines"].items()})


Curves = Mapping[str, CurveChart]
"""Name of a chart -> its curves."""

_NAME, _VALUES = text(1000, low=1), items(finite(), 2, 10**4)
_CHART = {"x": text(100), "y": text(100), "at": _VALUES, "lines": table(_NAME, _VALUES, high=10**4)}
CURVES = table(_NAME, record(_CHART, needed=tuple(_CHART)), high=100)
"""The rule for curves as plain data."""


def plain_curves(curves: Curves) -> dict[str, Any]:
    """Return curves as plain data, ready for JSON."""
    return {name: chart.to_dict() for name, chart in curves.items()}


def read_curves(tree: Mapping[str, Any]) -> dict[str, CurveChart]:
    """Build curves from what `plain_curves` returned and `CURVES` holds for, see `CurveChart.from_dict`."""
    return {name: CurveChart.from_dict(chart) for name, chart in tree.items()}
