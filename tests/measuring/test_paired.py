import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from senet.measuring.paired import paired_difference, spread

accuracies = st.lists(st.tuples(*[st.floats(0, 100)] * 2), min_size=2, max_size=10)


@given(accuracies)
def test_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    values, base = np.array(pairs).T
    difference = paired_difference(values.tolist(), base.tolist())
    if difference.low is None:
        assert np.std(values - base) < 1e-6
        return
    want = stats.ttest_rel(values, base).confidence_interval(0.95)
    np.testing.assert_allclose([difference.low, difference.high], [want.low, want.high], rtol=1e-6, atol=1e-9)
    assert difference.mean == pytest.approx(np.mean(values - base), abs=1e-9)


def test_interval_of_three_seeds_by_hand() -> None:
    difference = paired_difference([98.0, 99.0, 97.0], [97.0, 97.0, 96.0])  # differences 1, 2, 1; t(0.975, 2) = 4.3027
    half = 4.302653 * np.sqrt(1 / 3) / np.sqrt(3)
    assert (difference.low, difference.high) == (pytest.approx(4 / 3 - half, rel=1e-6), pytest.approx(4 / 3 + half, rel=1e-6))
    assert difference.finding == "unclear"


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ([2.0, 2.1, 1.9], "higher"),
        ([-2.0, -2.1, -1.9], "lower"),
        ([2.0, -2.1, 1.9], "unclear"),
        ([2.0], "one seed"),
        ([0.28, 0.28, 0.28], "no spread"),
        ([0.0, 0.0, 0.0], "no spread"),
    ],
)
def test_finding(values: list[float], finding: str) -> None:
    assert paired_difference(values, [0.0] * len(values)).finding == finding


def test_equal_differences_have_no_interval_in_spite_of_rounding() -> None:
    difference = paired_difference([98.1 + 0.1, 47.3 + 0.1, 0.7 + 0.1], [98.1, 47.3, 0.7])
    assert len(set(difference.by_seed)) > 1  # 0.1 is not exact
    assert (difference.low, difference.high) == (None, None)


def test_spread_of_one_value_is_unknown() -> None:
    assert spread([98.0]) is None
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5)


def test_unequal_numbers_of_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0, 2.0], [1.0])
