import json

import pytest

from senet.measuring.timing import Timing, ratio
from senet.results.cost import Duration, VariantCost

FAST, SLOW = Timing((0.010, 0.012, 0.011), (0.02, 0.02, 0.02)), Timing((0.020, 0.030, 0.022), (0.04, 0.05, 0.04))
BASE = VariantCost(1000, 2_000_000, Duration.of(FAST), Duration.of(FAST), ratio(FAST, FAST), ratio(FAST, FAST))
COST = VariantCost(1010, 2_002_000, Duration.of(SLOW), Duration.of(FAST), ratio(SLOW, FAST), ratio(FAST, FAST))


def test_a_duration_sums_up_the_rounds() -> None:
    assert Duration.of(SLOW) == Duration(SLOW.median, SLOW.low, SLOW.high, SLOW.cpu, 3)


def test_rows_show_figures_beside_the_baseline() -> None:
    rows = COST.rows(BASE)
    assert [(row.title, row.figure, row.words) for row in rows] == [
        ("Parameters", "1.01 k", "+1.0 %"),
        ("MACs", "2.00 M", "+0.10 %"),
        ("Latency", "22.0 ms", "2.00\u00d7"),
        ("Training step", "11.0 ms", "1.00\u00d7"),
    ]
    assert (rows[0].low, rows[0].ratio, rows[0].high) == pytest.approx((1.01, 1.01, 1.01))
    assert (rows[2].low, rows[2].ratio, rows[2].high) == (COST.latency_ratio.low, COST.latency_ratio.median, COST.latency_ratio.high)


def test_a_cost_survives_json() -> None:
    tree = json.loads(json.dumps(COST.to_dict(BASE)))
    assert tree["params_ratio"] == pytest.approx(1.01)
    assert tree["macs_ratio"] == pytest.approx(1.001)
    assert VariantCost.from_dict(tree) == COST
