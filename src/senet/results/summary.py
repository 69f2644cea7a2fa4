"""The sentences that say what a comparison supports, and say so plainly when it supports nothing."""

from collections.abc import Callable

from senet.measuring.numbers import change
from senet.measuring.paired import Difference
from senet.measuring.timing import Ratio
from senet.results.comparison import Result, VariantResult
from senet.results.metric import Metric
from senet.results.ranking import ranking_sentences

NOISY = 1.3
"""A ratio whose quartiles are further apart than this is told with them: the machine was busy."""


def summarise(result: Result) -> str:
    """Return one sentence on the primary metric, one on cost where there are two variants, and what there is to say of pruning."""
    if len(result.variants) == 2:
        label, difference = next(iter(result.differences.items()))
        return f"{SENTENCES[difference.finding](label, difference, result)} {cost_sentence(result.variants[1], result)}"
    return " ".join([_several_variants(result), *ranking_sentences(result)])


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
    """Return what a variant costs beside the baseline, in a sentence."""
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
    word, metric = "raises" if difference.mean > 0 else "lowers", result.primary
    return (
        f"{label} {word} {metric.title}{metric.direction} by {metric.difference(difference.mean)} over {result.baseline.label}: "
        f"the 95 % interval over {len(result.seeds)} seeds, {interval(difference, metric)}, excludes 0."
    )


def _inconclusive(label: str, difference: Difference, result: Result) -> str:
    metric = result.primary
    return (
        f"The data does not tell {label} and {result.baseline.label} apart: over {len(result.seeds)} seeds, "
        f"{metric.title}{metric.direction} with {label} is {_compared(difference, metric)} on average, "
        f"and the 95 % interval, {interval(difference, metric)}, includes 0."
    )


def _one_seed(label: str, difference: Difference, result: Result) -> str:
    return (
        f"One seed supports no conclusion: {_scored(label, difference, result)}, "
        "and nothing tells how much of that is chance. Train more seeds, for example --seeds 3."
    )


def _no_variance(label: str, difference: Difference, result: Result) -> str:
    return (
        f"The data supports no conclusion: {_scored(label, difference, result)} with each of "
        f"{len(result.seeds)} seeds, and without any spread there is no interval. Train more seeds, or validate on more images."
    )


SENTENCES: dict[str, Callable[[str, Difference, Result], str]] = {
    "higher": _supported,
    "lower": _supported,
    "unclear": _inconclusive,
    "one seed": _one_seed,
    "no spread": _no_variance,
}


def _several_variants(result: Result) -> str:
    base, count, metric = result.baseline.label, len(result.differences), result.primary
    if len(result.seeds) == 1:
        return f"One seed supports no conclusion about any of the {count} variants. Train more seeds, for example --seeds 3."
    clear = [
        f"{label} ({metric.signed(difference.mean)}, {interval(difference, metric)})"
        for label, difference in result.differences.items()
        if difference.finding in ("higher", "lower")
    ]
    if not clear:
        return (
            f"The data does not tell any of the {count} variants from {base}: over {len(result.seeds)} seeds, "
            f"the 95 % interval of every difference in {metric.title}{metric.direction} includes 0."
        )
    rest = "" if len(clear) == count else " The other intervals include 0."
    return (
        f"Against {base}, the 95 % interval over {len(result.seeds)} seeds excludes 0 for {len(clear)} of {count} variants, "
        f"in {metric.scale}{metric.direction}: {'; '.join(clear)}.{rest}"
    )


def interval(difference: Difference, metric: Metric) -> str:
    """Write an interval that exists: "+0.10 to +0.72"."""
    assert difference.low is not None
    assert difference.high is not None
    return f"{metric.signed(difference.low)} to {metric.signed(difference.high)}"


def _scored(label: str, difference: Difference, result: Result) -> str:
    metric, than = result.primary, "as" if difference.mean == 0 else "than"
    told = f" in {metric.title}{metric.direction}" if metric.direction else ""
    return f"{label} scored {_compared(difference, metric)} {than} {result.baseline.label}{told}"


def _compared(difference: Difference, metric: Metric) -> str:
    if difference.mean == 0:
        return "exactly as high"
    return f"{metric.difference(difference.mean)} {'higher' if difference.mean > 0 else 'lower'}"
