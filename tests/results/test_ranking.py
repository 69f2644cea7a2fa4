from dataclasses import replace

import pytest

from made_results import make_result
from senet.results.comparison import Result
from senet.results.metric import Metric
from senet.results.ranking import ranking_sentences

WHOLE, L1, RANDOM = [90.0, 90.2, 90.1], [88.0, 88.3, 88.1], [86.0, 86.4, 86.1]
ERROR = Metric("error", "mean absolute error", higher_is_better=False, decimals=3)


def pruned(values: dict[str, list[float]], **arguments) -> Result:
    """Return a result whose labels are what recipes say."""
    result = make_result(values, **arguments)
    return replace(result, variants=tuple(replace(one, changes={"model.compress": one.label}) for one in result.variants))


def test_gates_that_beat_all_others_are_said_to() -> None:
    (sentence,) = ranking_sentences(pruned({"none": WHOLE, "gate0.7": [89.0, 89.2, 89.2], "l1_0.7": L1, "random0.7": RANDOM}))
    assert sentence.startswith("At 0.7 of the MACs (MACs 1.")
    assert "gate beats every simpler ranking in top-1, by intervals of 97.5 %, so that those of all 2 pairs hold together at" in sentence
    assert " at 95 %: gate against l1 +1.00 (" in sentence
    assert "; gate against random +2.97 (" in sentence


@pytest.mark.parametrize("gate", [[88.1, 88.2, 88.5], L1, [85.0, 85.2, 85.3], [92.0, 88.0, 89.0]])
def test_gates_that_do_not_are_said_not_to(gate: list[float]) -> None:
    (sentence,) = ranking_sentences(pruned({"none": WHOLE, "gate0.7": gate, "l1_0.7": L1, "random0.7": RANDOM}))
    assert "gates do not win here, in top-1, by intervals of 97.5 %, so that" in sentence
    assert sentence in pruned({"none": WHOLE, "gate0.7": gate, "l1_0.7": L1, "random0.7": RANDOM}).summary


def test_each_pair_that_is_looked_at_makes_intervals_wider() -> None:
    """Of differences 1, 2, 1: mean 1.33, standard error 1/3; t of 2 degrees of freedom at 97.5, 98.75 and 99.17 %: 4.303, 6.205, 7.649."""
    won, lost = [21.0, 22.0, 21.0], [18.0, 18.5, 18.2]
    values = {"none": WHOLE, "gate0.7": won, "l1_0.7": [20.0, 20.0, 20.0]}
    (sentence,) = ranking_sentences(pruned(values))
    assert "gates do not win here, in top-1, by a 95 % interval: gate against l1 +1.33 (\u22120.10 to +2.77)." in sentence
    (sentence,) = ranking_sentences(pruned(values | {"gate_spread0.7": lost}))
    assert "of 97.5 %, so that those of all 2 pairs hold together at 95 %: gate against l1 +1.33 (\u22120.74 to +3.40)" in sentence
    first, second = ranking_sentences(pruned(values | {"gate0.5": won, "gate_spread0.5": lost, "l1_0.5": lost}))
    for sentence in (first, second):
        assert "intervals of 98.33 %, so that those of all 3 pairs hold together at 95 %" in sentence
    assert "gate against l1 +1.33 (\u22121.22 to +3.88)" in first


def test_gates_that_win_one_comparison_may_not_win_it_among_several() -> None:
    """Of differences 1, 1.5, 1.25: 1.25 with a standard error of 0.144, t = 8.66."""
    values = {"none": WHOLE, "gate0.7": [21.0, 21.5, 21.25], "l1_0.7": [20.0, 20.0, 20.0]}
    assert "gate beats every simpler ranking in top-1, by a 95 % interval: gate" in ranking_sentences(pruned(values))[0]
    among = values | {"gate_spread0.7": L1, "random0.7": [1.0, 1.1, 1.2]}
    assert "gate beats" not in ranking_sentences(pruned(among))[0]


def test_one_seed_says_nothing() -> None:
    (sentence,) = ranking_sentences(pruned({"none": [90.0], "gate0.7": [99.0], "l1_0.7": [80.0]}))
    assert "one seed does not say which ranking wins in top-1: gate against l1 +19.00 (no interval)." in sentence


def test_less_is_better_of_an_error() -> None:
    low, high = [0.10, 0.11, 0.12], [0.20, 0.21, 0.23]
    (sentence,) = ranking_sentences(pruned({"none": low, "gate0.7": low, "l1_0.7": high}, metric=ERROR))
    assert "gate beats every simpler ranking in mean absolute error (lower is better)" in sentence
    (sentence,) = ranking_sentences(pruned({"none": low, "gate0.7": high, "l1_0.7": low}, metric=ERROR))
    assert "gates do not win here" in sentence


def test_only_equal_shares_of_one_cost_are_compared() -> None:
    values = {"none": WHOLE, "gate0.7": L1, "l1_0.5": L1, "taylor0.7@latency": L1, "random0.7:layer": L1}
    assert ranking_sentences(pruned(values)) == []
    both = ranking_sentences(pruned(values | {"l1_0.7": RANDOM, "gate0.5": WHOLE}))
    assert [sentence[:9] for sentence in both] == ["At 0.7 of", "At 0.5 of"]
    assert ranking_sentences(make_result({"plain": WHOLE, "SE": L1})) == []
