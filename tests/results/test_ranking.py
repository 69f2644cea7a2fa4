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
    assert "gate beats every simpler ranking in top-1: gate against l1 +1.00 (" in sentence
    assert "; gate against random +2.97 (" in sentence


@pytest.mark.parametrize("gate", [[88.1, 88.2, 88.5], L1, [85.0, 85.2, 85.3], [92.0, 88.0, 89.0]])
def test_gates_that_do_not_are_said_not_to(gate: list[float]) -> None:
    (sentence,) = ranking_sentences(pruned({"none": WHOLE, "gate0.7": gate, "l1_0.7": L1, "random0.7": RANDOM}))
    assert "gates do not win here, in top-1: gate against l1 " in sentence
    assert sentence in pruned({"none": WHOLE, "gate0.7": gate, "l1_0.7": L1, "random0.7": RANDOM}).summary


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
