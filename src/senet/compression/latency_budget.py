"""How many hidden units have to go until a network takes a share of its time, measured here and now."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from senet.compression.pruning.target import latency_ratio
from senet.errors import UsageError

TIMED_ROUNDS = 7
"""Rounds of a timing, each with both networks."""


@dataclass(frozen=True)
class LatencyTrial:
    """Network that was timed against the one it comes from.

    Args:
        removed: how many hidden units, or pairs of such, it lacks.
        share: median over rounds of its time over the other's.
        low: lower quartile of these ratios.
        high: their upper quartile.
    """

    removed: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.3f} ({self.low:.3f} to {self.high:.3f})"


def fewest_removed(
    model: nn.Module, smaller: Callable[[int], nn.Module], example_input: Tensor, least: int, most: int, share: float, *, drop: bool
) -> tuple[int, tuple[LatencyTrial, ...]]:
    """Search, by halving, for the fewest removals with which a network takes no more than a share of its time.

    Args:
        model: the network.
        smaller: gives the network with so many removals.
        example_input: images, (N, C, H, W), on which both are timed.
        least: removals that are made anyway.
        most: removals that are possible.
        share: of the network's time, in (0, 1].
        drop: whether blocks go as a whole.

    Returns:
        The removals, and what was timed; the last trial is of the removals.

    Raises:
        UsageError: if not even all removals are enough.
    """
    last = _time(model, smaller, example_input, most)
    tried = [last]
    if last.share > share:
        more = "" if drop else "; drop lets whole blocks go"
        raise UsageError(f"with the narrowest blocks the network takes {last} of its time on this device, not {share:g}{more}")
    low, high, found = least, most, last
    while low < high:
        middle = (low + high) // 2
        trial = _time(model, smaller, example_input, middle)
        tried.append(trial)
        if trial.share <= share:
            high, found = middle, trial
        else:
            low = middle + 1
    return high, (*(trial for trial in tried if trial is not found), found)


def _time(model: nn.Module, smaller: Callable[[int], nn.Module], images: Tensor, removed: int) -> LatencyTrial:
    found = latency_ratio(model, smaller(removed), images.to(next(model.parameters()).device), rounds=TIMED_ROUNDS)
    return LatencyTrial(removed, found.median, found.low, found.high)
