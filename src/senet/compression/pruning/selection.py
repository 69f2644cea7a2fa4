"""Which channels stay at a ratio: by their importance, over the network or set by set, in widths that machines like."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import gcd

import torch
from torch import Tensor

from senet.compression.pruning.channels import Channels
from senet.compression.pruning.importance import Importance

Ranked = Sequence[tuple[Channels, Importance | None]]
"""Sets of channels and the importance of each; None where a set is left whole."""


def select(ranked: Ranked, ratio: float, *, scope: str = "global", round_to: int = 8) -> list[Tensor]:
    """Return which channels of each set stay, ascending; at a larger ratio those that stay are among them.

    Args:
        ranked: the sets as they are, and the importance of their channels.
        ratio: share that goes of the channels that there were in the beginning, 0 to 1.
        scope: "global" takes the least important of all sets that were measured alike, "layer" the same share of every set.
        round_to: widths become the nearest multiple of it, and at least that.
    """
    counts = SCOPES[scope](ranked, ratio)
    return [
        torch.arange(own.count) if score is None else _strongest(score.values, _rounded(own, count, round_to))
        for (own, score), count in zip(ranked, counts, strict=True)
    ]


def _global(ranked: Ranked, ratio: float) -> list[float]:
    """Return how many channels stay of each set if the least important go; measures of two kinds are not compared."""
    pools: dict[str, list[int]] = defaultdict(list)
    for place, (_, score) in enumerate(ranked):
        if score is not None:
            pools[score.measure].append(place)
    counts = [float(own.count) for own, _ in ranked]
    for places in pools.values():
        values = torch.cat([score.values for place in places if (score := ranked[place][1]) is not None])
        owners = torch.tensor([place for place in places for _ in range(ranked[place][0].count)])
        began = sum(ranked[place][0].original for place in places)
        going = max(0, round(ratio * began) - (began - len(values)))
        for place in owners[values.argsort(stable=True)[:going]].tolist():
            counts[place] -= 1
    return counts


def _by_layer(ranked: Ranked, ratio: float) -> list[float]:
    return [min(own.count, own.original * (1 - ratio)) for own, _ in ranked]


SCOPES: dict[str, Callable[[Ranked, float], list[float]]] = {"global": _global, "layer": _by_layer}


def _rounded(channels: Channels, count: float, round_to: int) -> int:
    step = round_to // gcd(round_to, channels.width)
    return min(channels.count, max(step, int(count / step + 0.5) * step))


def _strongest(values: Tensor, count: int) -> Tensor:
    """Return the places of the largest values, ascending; of equal ones the first."""
    return values.argsort(descending=True, stable=True)[:count].sort().values
