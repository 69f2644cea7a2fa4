"""The sentences that say whether channels are better chosen by gates than by simpler rankings, at equal cost."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from senet.measuring.paired import Difference, level_of_each, paired_difference
from senet.recipe.compress import COMPRESS, GATE_RANKS, Compression, parse_compress
from senet.results.comparison import Result, VariantResult
from senet.results.metric import Metric

ByRanking = Mapping[str, VariantResult]
"""Ranking -> the variant whose channels were chosen by it."""


@dataclass(frozen=True)
class EqualShare:
    """Networks that were pruned to the same share of the same cost.

    Args:
        compression: says which share and cost; its ranking is that of any of them.
        ranked: ranking -> network; some by gates, some not.
    """

    compression: Compression
    ranked: ByRanking

    @property
    def gates(self) -> list[str]:
        """The rankings by gates."""
        return [rank for rank in GATE_RANKS if rank in self.ranked]

    @property
    def simple(self) -> list[str]:
        """The others."""
        return [rank for rank in self.ranked if rank not in GATE_RANKS]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What is compared: a ranking by gates with another one."""
        return list(product(self.gates, self.simple))


def ranking_sentences(result: Result) -> list[str]:
    """Return one sentence for each cost to which a result's networks were pruned by gates and by something else; mostly none.

    Each pair is one more chance that gates win by luck: all intervals of a result hold together at 95 %.
    """
    groups: dict[tuple[str, ...], dict[str, VariantResult]] = defaultdict(dict)
    amounts: dict[tuple[str, ...], Compression] = {}
    for variant in result.variants:
        compression = parse_compress(str(variant.changes.get(COMPRESS, "none")))
        if compression is not None and compression.rank is not None:
            others = (f"{path}={value}" for path, value in sorted(variant.changes.items()) if path != COMPRESS)
            group = (compression.ending, *others)
            groups[group][compression.rank] = variant
            amounts[group] = compression
    shares = [share for group, ranked in groups.items() if (share := EqualShare(amounts[group], ranked)).pairs]
    together = sum(len(share.pairs) for share in shares)
    return [_sentence(result, share, together) for share in shares]


def _sentence(result: Result, share: EqualShare, together: int) -> str:
    metric, ranked = result.primary, share.ranked
    differences = {
        (gate, rank): paired_difference(ranked[gate].last(metric.column), ranked[rank].last(metric.column), together=together)
        for gate, rank in share.pairs
    }
    told = "; ".join(f"{gate} against {rank} {_told(difference, metric)}" for (gate, rank), difference in differences.items())
    at = f"At {share.compression.amount:g} of the {share.compression.left_of} ({_costs(result, ranked)})"
    if len(result.seeds) == 1:
        return f"{at}, one seed does not say which ranking wins in {metric.title}{metric.direction}: {told}."
    better = "higher" if metric.higher_is_better else "lower"
    won = [gate for gate in share.gates if all(differences[gate, rank].finding == better for rank in share.simple)]
    what = f"{' and '.join(won)} beats every simpler ranking" if won else "gates do not win here,"
    return f"{at}, {what} in {metric.title}{metric.direction}, by {_intervals(together)}: {told}."


def _intervals(together: int) -> str:
    """Return what the intervals of so many pairs are called."""
    if together == 1:
        return "a 95 % interval"
    return f"intervals of {100 * level_of_each(together):.4g} %, so that those of all {together} pairs hold together at 95 %"


def _told(difference: Difference, metric: Metric) -> str:
    if difference.low is None or difference.high is None:
        return f"{metric.signed(difference.mean)} (no interval)"
    return f"{metric.signed(difference.mean)} ({metric.signed(difference.low)} to {metric.signed(difference.high)})"


def _costs(result: Result, ranked: ByRanking) -> str:
    """Return what the networks really have of each cost of the baseline, the least and the most of them."""
    base = result.baseline.cost
    shares = {
        "MACs": [variant.cost.macs / base.macs for variant in ranked.values()],
        "parameters": [variant.cost.params / base.params for variant in ranked.values()],
        "measured latency of one image": [variant.cost.latency_ratio.median for variant in ranked.values()],
    }
    return ", ".join(f"{name} {min(values):.2f} to {max(values):.2f}" for name, values in shares.items())
