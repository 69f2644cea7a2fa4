"""The sentences that say what a comparison supports, and say so plainly when it supports nothing."""

from collections.abc import Callable

from senet.measuring.numbers import change, points, signed
from senet.measuring.paired import Difference
from senet.measuring.timing import Ratio
from senet.results.comparison import Result, VariantResult

NOISY = 1.3
"""A ratio whose quartiles are further apart than this is told with them: the machine was busy."""


def summarise(result: Result) -> str:
    """Return one sentence on accuracy and one on cost."""
    if len(result.variants) == 2:
        label, difference = next(iter(result.differences.items()))
        return f"{SENTENCES[difference.finding](label, difference, result)} {cost_sentence(result.variants[1], result)}"
    return _several(result)


def verdict(result: Result) -> str:
    """Return the outcome in a few words."""
    findings = [difference.finding for difference in result.differences.values()]
    clear = sum(finding in ("higher", "lower") for finding in findings)
    if set(findings) == {"one seed"}:
        return "One seed: no conclusion"
    if len(findings) > 1:
        return f"{clear} of {len(findings)} intervals exclude 0"
    return "A difference beyond chance" if clear else "No difference beyond chance"


def cost_sentence(variant: VariantResult, result: Result) -> str:
    """Say what a variant costs beside the baseline."""
    cost, base = variant.cost, result.baseline.cost
    parts = (
        f"{change(cost.params / base.params)} parameters",
        f"{change(cost.macs / base.macs)} MACs",
        f"{_measured(cost.latency_ratio)} latency",
        f"{_measured(cost.step_ratio)} time per training step",
    )
    return f"Its cost: {', '.join(parts[:-1])} and {parts[-1]}."


def _measured(ratio: Ratio) -> str:
    steady = ratio.high <= NOISY * ratio.low
    return change(ratio.median) if steady else f"{change(ratio.median)} (noisy: quartiles {change(ratio.low)} to {change(ratio.high)})"


def _supported(label: str, difference: Difference, result: Result) -> str:
    word = "raises" if difference.mean > 0 else "lowers"
    return (
        f"{label} {word} top-1 by {points(abs(difference.mean))} over {result.baseline.label}: "
        f"the 95 % interval over {len(result.seeds)} seeds, {interval(difference)}, excludes 0."
    )


def _unclear(label: str, difference: Difference, result: Result) -> str:
    return (
        f"The data does not tell {label} and {result.baseline.label} apart: over {len(result.seeds)} seeds, top-1 with {label} is "
        f"{_direction(difference)} on average, and the 95 % interval, {interval(difference)}, includes 0."
    )


def _one_seed(label: str, difference: Difference, result: Result) -> str:
    return (
        f"One seed supports no conclusion: {label} scored {_direction(difference, 'than', 'as')} {result.baseline.label}, "
        "and nothing tells how much of that is chance. Train more seeds, for example --seeds 3."
    )


def _no_spread(label: str, difference: Difference, result: Result) -> str:
    return (
        f"The data supports no conclusion: {label} scored {_direction(difference, 'than', 'as')} {result.baseline.label} with each of "
        f"{len(result.seeds)} seeds, and without any spread there is no interval. Train more seeds, or validate on more images."
    )


SENTENCES: dict[str, Callable[[str, Difference, Result], str]] = {
    "higher": _supported,
    "lower": _supported,
    "unclear": _unclear,
    "one seed": _one_seed,
    "no spread": _no_spread,
}


def _several(result: Result) -> str:
    base, count = result.baseline.label, len(result.differences)
    if len(result.seeds) == 1:
        return f"One seed supports no conclusion about any of the {count} variants. Train more seeds, for example --seeds 3."
    clear = [
        f"{label} ({signed(difference.mean)}, {interval(difference)})"
        for label, difference in result.differences.items()
        if difference.finding in ("higher", "lower")
    ]
    if not clear:
        return (
            f"The data does not tell any of the {count} variants from {base}: over {len(result.seeds)} seeds, "
            "the 95 % interval of every difference in top-1 includes 0."
        )
    rest = "" if len(clear) == count else " The other intervals include 0."
    return (
        f"Against {base}, the 95 % interval over {len(result.seeds)} seeds excludes 0 for {len(clear)} of {count} variants, "
        f"in points of top-1: {'; '.join(clear)}.{rest}"
    )


def interval(difference: Difference) -> str:
    """Write an interval that exists: "+0.10 to +0.72"."""
    assert difference.low is not None
    assert difference.high is not None
    return f"{signed(difference.low)} to {signed(difference.high)}"


def _direction(difference: Difference, than: str = "", as_: str = "") -> str:
    if difference.mean == 0:
        return f"exactly as high {as_}".rstrip()
    return f"{points(abs(difference.mean))} {'higher' if difference.mean > 0 else 'lower'} {than}".rstrip()
