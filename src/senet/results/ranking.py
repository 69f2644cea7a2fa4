"""The sentences that say whether channels are better chosen by gates than by simpler rankings, at equal cost."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import product

from senet.measuring.paired import paired_difference
from senet.recipe.compress import COMPRESS, GATE_RANKS, LEFT_OF, Compression, parse_compress
from senet.results.comparison import Result, VariantResult
from senet.results.metric import Metric

ByRanking = Mapping[str, VariantResult]
"""Ranking -> the variant whose channels were chosen by it."""


def ranking_sentences(result: Result) -> list[str]:
    """Return one sentence for each cost to which a result's networks were pruned by gates and by something else; mostly none."""
    groups: dict[tuple[str, ...], dict[str, VariantResult]] = defaultdict(dict)
    amounts: dict[tuple[str, ...], Compression] = {}
    for variant in result.variants:
        compression = parse_compress(str(variant.changes.get(COMPRESS, "none")))
        if compression is not None and compression.rank is not None:
            others = (f"{path}={value}" for path, value in sorted(variant.changes.items()) if path != COMPRESS)
            group = (f"{compression.amount}", compression.cost, compression.scope, *others)
            groups[group][compression.rank] = variant
            amounts[group] = compression
    return [
        _sentence(result, amounts[group], ranked)
        for group, ranked in groups.items()
        if ranked.keys() & set(GATE_RANKS) and ranked.keys() - set(GATE_RANKS)
    ]


def _sentence(result: Result, compression: Compression, ranked: ByRanking) -> str:
    metric = result.primary
    simple = {rank: variant for rank, variant in ranked.items() if rank not in GATE_RANKS}
    gates = [gate for gate in GATE_RANKS if gate in ranked]
    told = "; ".join(
        f"{gate} against {rank} {_compared(ranked[gate], other, metric)}" for gate, (rank, other) in product(gates, simple.items())
    )
    won = [gate for gate in gates if all(_wins(ranked[gate], other, metric) for other in simple.values())]
    at = f"At {compression.amount:g} of the {LEFT_OF[compression.cost]} ({_costs(result, ranked)})"
    if len(result.seeds) == 1:
        return f"{at}, one seed does not say which ranking wins in {metric.title}{metric.direction}: {told}."
    if won:
        return f"{at}, {' and '.join(won)} beats every simpler ranking in {metric.title}{metric.direction}: {told}."
    return f"{at}, gates do not win here, in {metric.title}{metric.direction}: {told}."


def _wins(gate: VariantResult, other: VariantResult, metric: Metric) -> bool:
    """Return whether the interval of a paired difference says that gates are better."""
    finding = paired_difference(gate.last(metric.column), other.last(metric.column)).finding
    return finding == ("higher" if metric.higher_is_better else "lower")


def _compared(gate: VariantResult, other: VariantResult, metric: Metric) -> str:
    difference = paired_difference(gate.last(metric.column), other.last(metric.column))
    if difference.low is None or difference.high is None:
        return f"{metric.signed(difference.mean)} (no interval)"
    return f"{metric.signed(difference.mean)} ({metric.signed(difference.low)} to {metric.signed(difference.high)})"


def _costs(result: Result, ranked: ByRanking) -> str:
    """Return what the networks really have of each cost of the baseline, the least and the most of them."""
    base = result.baseline.cost
    shares = {
        "MACs": [variant.cost.macs / base.macs for variant in ranked.values()],
        "parameters": [variant.cost.params / base.params for variant in ranked.values()],
        "measured latency": [variant.cost.latency_ratio.median for variant in ranked.values()],
    }
    return ", ".join(f"{name} {min(values):.2f} to {max(values):.2f}" for name, values in shares.items())
