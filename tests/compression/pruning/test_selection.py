"""Which channels stay, at all ratios, scopes and roundings."""

import pytest
import torch

from senet.compression.pruning.channels import Axis, Channels
from senet.compression.pruning.importance import Importance
from senet.compression.pruning.selection import Ranked, select


def channels(name: str, count: int, width: int = 1, original: int | None = None) -> Channels:
    return Channels(name, {Axis(name, "outputs"): torch.arange(count * width).view(count, width)}, original or count)


def scored(own: Channels, values: list[float], measure: str = "l1") -> tuple[Channels, Importance]:
    return own, Importance(torch.tensor(values, dtype=torch.float64), measure)


def drawn(seed: int = 0) -> Ranked:
    generator = torch.Generator().manual_seed(seed)
    sets = [channels("a", 16), channels("b", 24, width=3), channels("c", 7), channels("d", 40)]
    ranked = [(own, Importance(torch.rand(own.count, generator=generator, dtype=torch.float64), "l1")) for own in sets]
    return [*ranked, (channels("whole", 9), None)]


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("round_to", [1, 2, 8])
def test_fewer_stay_at_a_larger_ratio_and_all_of_them_stayed_before(scope: str, round_to: int) -> None:
    ranked = drawn()
    before = [set(range(own.count)) for own, _ in ranked]
    for step in range(41):
        kept = [place.tolist() for place in select(ranked, step / 40, scope=scope, round_to=round_to)]
        for (own, score), places, larger in zip(ranked, kept, before, strict=True):
            assert places == sorted(set(places))
            assert set(places) <= larger
            assert len(places) * own.width % round_to == 0 or len(places) == own.count
            assert places
            assert score is not None or len(places) == own.count
        before = [set(places) for places in kept]
    assert [len(places) for places in before] == [min(own.count, least(own, round_to)) if score else own.count for own, score in ranked]


def least(own: Channels, round_to: int) -> int:
    return next(count for count in range(1, 99) if count * own.width % round_to == 0)


def test_the_least_important_of_the_network_go() -> None:
    ranked = [scored(channels("a", 4), [0.1, 0.9, 0.2, 0.8]), scored(channels("b", 4), [0.3, 0.7, 0.6, 0.5])]
    assert [own.tolist() for own in select(ranked, 0.375, round_to=1)] == [[1, 3], [1, 2, 3]]
    assert [own.tolist() for own in select(ranked, 0.5, scope="layer", round_to=1)] == [[1, 3], [1, 2]]


def test_scores_of_two_kinds_are_not_compared() -> None:
    ranked = [scored(channels("a", 4), [1.0, 1.1, 1.2, 1.3], "gate"), scored(channels("b", 4), [0.1, 0.2, 0.3, 0.4], "l1")]
    assert [own.tolist() for own in select(ranked, 0.5, round_to=1)] == [[2, 3], [2, 3]]


def test_of_equal_channels_the_first_stay() -> None:
    ranked = [scored(channels("a", 4), [1.0] * 4)]
    assert select(ranked, 0.5, scope="layer", round_to=1)[0].tolist() == [0, 1]


def test_a_ratio_is_of_what_there_was_in_the_beginning() -> None:
    ranked = [scored(channels("a", 6, original=8), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])]
    for scope in ("global", "layer"):
        assert select(ranked, 0.25, scope=scope, round_to=1)[0].tolist() == [0, 1, 2, 3, 4, 5]
        assert select(ranked, 0.5, scope=scope, round_to=1)[0].tolist() == [0, 1, 2, 3]
        assert select(ranked, 0.125, scope=scope, round_to=1)[0].tolist() == [0, 1, 2, 3, 4, 5]
