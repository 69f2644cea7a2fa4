"""Time functions against each other on a machine that is never quiet: interleaved rounds, quartiles, ratios within a round. No torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles
from time import perf_counter, process_time

from senet.errors import UsageError
from senet.spec import check_positive


@dataclass(frozen=True)
class Timing:
    """Times of one function in seconds a call, one value a round.

    Args:
        walls: wall-clock seconds of each round.
        cpus: seconds of process CPU, over all threads, of each round.
    """

    walls: tuple[float, ...] = field(repr=False)
    cpus: tuple[float, ...] = field(repr=False)

    @property
    def median(self) -> float:
        """Median wall-clock seconds."""
        return median(self.walls)

    @property
    def low(self) -> float:
        """Lower quartile of the wall-clock seconds."""
        return _quartiles(self.walls)[0]

    @property
    def high(self) -> float:
        """Upper quartile of the wall-clock seconds."""
        return _quartiles(self.walls)[1]

    @property
    def cpu(self) -> float:
        """Median process-CPU seconds: on a loaded machine the steadier number."""
        return median(self.cpus)

    @property
    def rounds(self) -> int:
        """How many rounds the figures rest on."""
        return len(self.walls)

    def to_dict(self) -> dict[str, float | int]:
        """Return the summary, in seconds, ready for JSON."""
        return {"median": self.median, "low": self.low, "high": self.high, "cpu": self.cpu, "rounds": self.rounds}


@dataclass(frozen=True)
class Ratio:
    """Time of one function over that of another, taken round by round; 1.1 = a tenth slower.

    Args:
        median: median of the rounds' wall-clock ratios.
        low: their lower quartile.
        high: their upper quartile.
        cpu: median of the rounds' process-CPU ratios.
    """

    median: float
    low: float
    high: float
    cpu: float

    def to_dict(self) -> dict[str, float]:
        """Return the four numbers, ready for JSON."""
        return {"median": self.median, "low": self.low, "high": self.high, "cpu": self.cpu}


def interleave(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 11,
    min_seconds: float = 0.02,
    max_seconds: float = math.inf,
    long_call: float = math.inf,
    after_round: Callable[[dict[str, Timing]], object] = lambda timings: None,
) -> dict[str, Timing]:
    """Time functions in turn, A B B A, so that a slow minute of the machine meets all of them alike.

    Each function first runs twice untimed, once if its first call is long. A round visits every function twice, in opposite orders; its
    value is the mean of both visits.

    Args:
        functions: name -> what to call; on a device that works asynchronously each must wait for its own result.
        rounds: number of rounds.
        min_seconds: shortest visit; quick functions are called several times in one.
        max_seconds: no new round begins after so many seconds, once there are three.
        long_call: seconds of a call for which one round is enough instead of three.
        after_round: told after each round what there is so far.

    Raises:
        UsageError: if there is no function, or fewer than one round is asked for.
    """
    if not functions:
        raise UsageError("interleave needs at least one function to time")
    rounds = check_positive("rounds", rounds)
    calls = {name: _calls_to_last(function, min_seconds, long_call) for name, function in functions.items()}
    least = 1 if None in calls.values() else 3
    names = list(functions)
    visits: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in names}
    start = perf_counter()
    for done in range(rounds):
        if done >= least and perf_counter() - start > max_seconds:
            break
        for name in names:
            visits[name].append([])
        for name in (*names, *reversed(names)):
            visits[name][-1].append(_visit(functions[name], calls[name] or 1))
        after_round({name: _timing(pairs) for name, pairs in visits.items()})
    return {name: _timing(pairs) for name, pairs in visits.items()}


def ratio(timing: Timing, base: Timing) -> Ratio:
    """Divide one function's rounds by those of another that ran interleaved with it.

    Raises:
        UsageError: if the two have different numbers of rounds, hence come from different runs.
    """
    if timing.rounds != base.rounds:
        raise UsageError(f"ratios need timings of one interleaved run, got {timing.rounds} and {base.rounds} rounds")
    walls = [mine / other for mine, other in zip(timing.walls, base.walls, strict=True)]
    cpus = [mine / other for mine, other in zip(timing.cpus, base.cpus, strict=True)]
    low, high = _quartiles(walls)
    return Ratio(median(walls), low, high, median(cpus))


def _visit(function: Callable[[], object], calls: int) -> tuple[float, float]:
    wall, cpu = perf_counter(), process_time()
    for _ in range(calls):
        function()
    return (perf_counter() - wall) / calls, (process_time() - cpu) / calls


def _calls_to_last(function: Callable[[], object], seconds: float, long_call: float) -> int | None:
    """Return how many calls last so many seconds; None if one is long."""
    if _visit(function, 1)[0] > long_call:  # the first call allocates, compiles and fills caches
        return None
    return max(1, math.ceil(seconds / _visit(function, 1)[0]))


def _timing(rounds: Sequence[Sequence[tuple[float, float]]]) -> Timing:
    return Timing(
        walls=tuple(fmean(wall for wall, _ in pair) for pair in rounds),
        cpus=tuple(fmean(cpu for _, cpu in pair) for pair in rounds),
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
