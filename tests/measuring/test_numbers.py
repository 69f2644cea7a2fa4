import pytest

from senet.measuring.numbers import change, compact, compact_bytes, duration, factor, mean_sd, milliseconds, plural, signed


@pytest.mark.parametrize(("value", "text"), [(0.284, "+0.28"), (-0.284, "\u22120.28"), (0.001, "0.00"), (-0.001, "0.00")])
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0, "±0 %"), (1.0021, "+0.21 %"), (1.019, "+1.9 %"), (1.72, "+72 %"), (0.5, "\u221250 %"), (1.00001, "±0 %")]
)
def test_change(ratio: float, text: str) -> None:
    assert change(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(999, "999"), (272_474, "272 k"), (40.55e6, "40.5 M"), (3.86e9, "3.86 G"), (2_530_000, "2.53 M"), (9_996_000, "10.0 M")],
)
def test_compact(value: float, text: str) -> None:
    assert compact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1.50 s"), (0.0292, "29.2 ms"), (0.158, "158 ms"), (3e-5, "30.0 µs"), (5e-8, "50.0 ns")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_mean_with_and_without_spread() -> None:
    assert mean_sd([98.0, 99.0]) == "98.50 ± 0.71"
    assert mean_sd([98.0]) == "98.00"
    assert factor(1.717) == "1.72\u00d7"


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (999.6, "1000 B"), (3_860_000, "3.86 MB")])
def test_bytes_have_their_unit(value: float, text: str) -> None:
    assert compact_bytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5e-5, "0.05"), (0.00386, "3.86"), (0.009996, "10.0"), (0.0113, "11.3"), (0.09996, "100"), (1.5, "1500")]
)
def test_milliseconds_have_three_digits_and_two_decimals_at_most(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_one_is_no_plural() -> None:
    assert [plural(number, "thread") for number in (0, 1, 2)] == ["0 threads", "1 thread", "2 threads"]
