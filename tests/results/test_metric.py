import json
import math

import pytest

from senet.results.metric import Metric

TOP1 = Metric("top1", "top-1", "%", accuracy=True)
ERROR = Metric("error", "mean absolute error", "px", higher_is_better=False, decimals=4)
DICE = Metric("dice", "Dice")


@pytest.mark.parametrize(
    ("metric", "heading", "scale", "difference", "signed", "direction"),
    [
        (TOP1, "top-1, %", "points of top-1", "0.57 points", "\u22120.57", ""),
        (ERROR, "mean absolute error, px", "px of mean absolute error", "0.5678 px", "\u22120.5678", " (lower is better)"),
        (DICE, "Dice", "Dice", "0.57", "\u22120.57", ""),
    ],
    ids=lambda value: value.name if isinstance(value, Metric) else "",
)
def test_a_metric_reads_as_its_unit_and_direction_say(
    metric: Metric, heading: str, scale: str, difference: str, signed: str, direction: str
) -> None:
    assert (metric.heading, metric.scale, metric.direction) == (heading, scale, direction)
    assert (metric.difference(-0.5678), metric.signed(-0.5678)) == (difference, signed)


@pytest.mark.parametrize(("metric", "best"), [(TOP1, 3.0), (ERROR, 1.0)], ids=["higher", "lower"])
def test_the_better_value_is_the_one_in_its_direction(metric: Metric, best: float) -> None:
    assert metric.best([2.0, 3.0, 1.0]) == best
    assert metric.better(best, 2.0)
    assert not metric.better(2.0, best)
    assert not metric.better(2.0, 2.0)


@pytest.mark.parametrize("metric", [TOP1, ERROR, DICE], ids=lambda metric: metric.name)
def test_a_metric_survives_json(metric: Metric) -> None:
    assert Metric.from_dict(json.loads(json.dumps(metric.to_dict()))) == metric


@pytest.mark.parametrize(("higher", "best"), [(True, 3.0), (False, 1.0)])
def test_the_best_value_is_a_number_where_one_is(higher: bool, best: float) -> None:
    metric = Metric("score", "score", "", higher_is_better=higher)
    assert metric.best([math.nan, 1.0, math.nan, 3.0]) == best
    assert math.isnan(metric.best([math.nan]))
