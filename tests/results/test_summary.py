import pytest

from made_results import make_result
from senet.results.metric import Metric
from senet.results.summary import verdict

PLAIN = [98.15, 97.98, 98.32]
ERROR = Metric("error", "mean absolute error", higher_is_better=False, decimals=3)


@pytest.mark.parametrize(
    ("se", "verdict_", "parts"),
    [
        ([98.65, 98.58, 98.92], "A difference beyond chance", ["SE raises top-1 by 0.57 points", "+0.42 to +0.71, excludes 0"]),
        ([97.65, 97.38, 97.72], "A difference beyond chance", ["SE lowers top-1 by 0.57 points", "excludes 0"]),
        ([98.66, 98.99, 98.82], "No difference beyond chance", ["does not tell SE and plain apart", "0.67 points higher", "includes 0"]),
        ([98.32, 98.15, 97.98], "No difference beyond chance", ["exactly as high on average"]),
        ([98.65, 98.48, 98.82], "No difference beyond chance", ["supports no conclusion", "with each of 3 seeds", "no interval"]),
        (PLAIN, "No difference beyond chance", ["exactly as high as plain with each of 3 seeds"]),
    ],
)
def test_two_variants(se: list[float], verdict_: str, parts: list[str]) -> None:
    result = make_result({"plain": PLAIN, "SE": se})
    assert verdict(result) == verdict_
    for part in parts:
        assert part in result.summary


def test_one_seed_supports_nothing() -> None:
    result = make_result({"plain": [90.0], "SE": [99.0]})
    assert verdict(result) == "One seed: no conclusion"
    assert result.summary.startswith("One seed supports no conclusion: SE scored 9.00 points higher than plain")
    assert "--seeds 3" in result.summary


def test_cost_is_told_beside_the_accuracy() -> None:
    summary = make_result({"plain": PLAIN, "SE": [98.66, 98.99, 98.82]}).summary
    assert summary.endswith("Its cost: +0.96 % parameters, +0.02 % MACs, +8.0 % latency and +8.0 % time per training step.")


def test_several_variants_are_counted() -> None:
    result = make_result({"plain": PLAIN, "SE, reduction 2": [98.65, 98.58, 98.92], "SE, reduction 4": [98.66, 98.99, 98.82]})
    assert "excludes 0 for 1 of 2 variants, in points of top-1: SE, reduction 2 (+0.57, +0.42 to +0.71)." in result.summary
    assert "The other intervals include 0." in result.summary
    assert verdict(result) == "1 of 2 intervals exclude 0"


def test_several_variants_that_are_all_alike() -> None:
    result = make_result({"plain": PLAIN, "a": [98.66, 98.99, 98.82], "b": [98.32, 98.15, 97.98]})
    assert "does not tell any of the 2 variants from plain" in result.summary
    one = make_result({"plain": [98.0], "a": [97.0], "b": [99.0]})
    assert "One seed supports no conclusion about any of the 2 variants" in one.summary


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"plain": [0.210, 0.200, 0.190], "SE": [0.110, 0.101, 0.090]},
            "SE lowers mean absolute error (lower is better) by 0.100 over plain: "
            "the 95 % interval over 3 seeds, \u22120.101 to \u22120.098, excludes 0.",
        ),
        (
            {"plain": [0.210, 0.200, 0.190], "SE": [0.310, 0.301, 0.290]},
            "SE raises mean absolute error (lower is better) by 0.100 over plain: ",
        ),
        (
            {"plain": [0.210, 0.200, 0.190], "SE": [0.110, 0.301, 0.290]},
            "over 3 seeds, mean absolute error (lower is better) with SE is 0.034 higher on average, and ",
        ),
        ({"plain": [0.2], "SE": [0.1]}, "SE scored 0.100 lower than plain in mean absolute error (lower is better), and nothing tells"),
        ({"plain": [0.2, 0.3], "SE": [0.2, 0.3]}, "SE scored exactly as high as plain in mean absolute error (lower is better) with each"),
        (
            {"plain": [0.210, 0.200, 0.190], "a": [0.110, 0.101, 0.090], "b": [0.2, 0.1, 0.3]},
            "for 1 of 2 variants, in mean absolute error (lower is better): a (\u22120.100, \u22120.101 to \u22120.098).",
        ),
        (
            {"plain": [0.210, 0.200, 0.190], "a": [0.2, 0.1, 0.3], "b": [0.2, 0.1, 0.3]},
            "the 95 % interval of every difference in mean absolute error (lower is better) includes 0.",
        ),
    ],
    ids=["better", "worse", "unclear", "one seed", "no spread", "several", "several unclear"],
)
def test_a_metric_of_which_less_is_better_says_so(values: dict[str, list[float]], text: str) -> None:
    summary = make_result(values, metric=ERROR).summary
    assert text in summary
    assert "top-1" not in summary
    assert "points" not in summary
