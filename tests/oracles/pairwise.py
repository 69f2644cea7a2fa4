"""Few cases of many factors: every combination of the values of any few factors is in one of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

Case = dict[str, Any]


def pairwise(factors: Mapping[str, Sequence[Any]], strength: int = 2) -> list[Case]:
    """Return cases in which the values of any `strength` factors meet in every combination, as few as a greedy search finds.

    Args:
        factors: name -> its values.
        strength: 2 = every pair of values.
    """
    cases = [dict(zip(factors, places, strict=True)) for places in product(*(range(len(values)) for values in factors.values()))]
    covered = [{tuple((name, case[name]) for name in names) for names in combinations(factors, strength)} for case in cases]
    missing, chosen = set().union(*covered), []
    while missing:
        best = max(range(len(cases)), key=lambda index: len(covered[index] & missing))
        missing -= covered[best]
        chosen.append({name: factors[name][place] for name, place in cases[best].items()})
    return chosen


def label(case: Case) -> str:
    """Return the name of a case."""
    return "-".join(f"{name}={str(value).removeprefix('torch.')}" for name, value in case.items())
