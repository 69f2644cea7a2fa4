"""Curves as plain data, and back."""

import pytest

from senet.errors import UsageError
from senet.results.curves import CURVES, CurveChart, plain_curves, read_curves

CHART = CurveChart("recall %", "precision %", (0.0, 50.0, 100.0), {"all classes": (100.0, 70.5, 0.0), "cell": (90.0, 60.0, 10.0)})


def test_curves_come_back_from_plain_data() -> None:
    plain = plain_curves({"IoU 0.5": CHART})
    CURVES.check(plain, "curves")
    assert plain["IoU 0.5"]["lines"]["cell"] == [90.0, 60.0, 10.0]
    assert read_curves(plain) == {"IoU 0.5": CHART}
    assert list(read_curves(plain)["IoU 0.5"].lines) == ["all classes", "cell"]


def test_curves_that_do_not_fit_their_places_are_refused() -> None:
    with pytest.raises(UsageError, match="the curve 'all' has 1 values at 2 places"):
        CurveChart("x", "y", (0.0, 1.0), {"all": (1.0,)})
    with pytest.raises(UsageError, match="one curve or more, got none"):
        CurveChart("x", "y", (0.0, 1.0), {})


@pytest.mark.parametrize(
    ("field", "value"), [("at", [0.0, float("inf"), 1.0]), ("lines", {"all": [1.0, 2.0, None]}), ("x", 3), ("at", "0 1 2"), ("z", 1)]
)
def test_other_plain_data_are_refused(field: str, value: object) -> None:
    plain = plain_curves({"IoU 0.5": CHART})
    plain["IoU 0.5"][field] = value
    with pytest.raises(UsageError, match=r"^curves"):
        CURVES.check(plain, "curves")
