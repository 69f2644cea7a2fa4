"""What a variant of a comparison costs: counts, times, and both as multiples of the baseline's. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from senet.measuring.numbers import change, compact, duration, factor
from senet.measuring.timing import Ratio, Timing


@dataclass(frozen=True)
class Duration:
    """Time of one call, summed up over interleaved rounds; all but `rounds` in seconds.

    Args:
        median: median wall-clock time.
        low: its lower quartile.
        high: its upper quartile.
        cpu: median process-CPU time, over all threads.
        rounds: how many rounds the figures rest on.
    """

    median: float
    low: float
    high: float
    cpu: float
    rounds: int

    @classmethod
    def of(cls, timing: Timing) -> "Duration":
        """Sum up the rounds of a timing."""
        return cls(timing.median, timing.low, timing.high, timing.cpu, timing.rounds)


@dataclass(frozen=True)
class VariantCost:
    """Cost of a variant; ratios of times are to the baseline, measured interleaved with it.

    Args:
        params: number of parameters.
        macs: multiply-accumulates for one image.
        latency: time of one forward pass of one image, in evaluation mode.
        step: time of one training step of one batch.
        latency_ratio: latency over the baseline's.
        step_ratio: step over the baseline's.
    """

    params: int
    macs: int
    latency: Duration
    step: Duration
    latency_ratio: Ratio
    step_ratio: Ratio

    def rows(self, base: "VariantCost") -> tuple["CostRow", ...]:
        """Return the four costs beside those of the baseline, as they are shown."""
        return (
            _counted("Parameters", self.params, base.params),
            _counted("MACs", self.macs, base.macs),
            _timed("Latency", self.latency, self.latency_ratio),
            _timed("Training step", self.step, self.step_ratio),
        )

    def to_dict(self, base: "VariantCost") -> dict[str, Any]:
        """Return plain data, ready for JSON, with the ratios of the counts to those of the baseline."""
        return {
            "params": self.params,
            "macs": self.macs,
            "params_ratio": self.params / base.params,
            "macs_ratio": self.macs / base.macs,
            "latency": asdict(self.latency),
            "latency_ratio": self.latency_ratio.to_dict(),
            "step": asdict(self.step),
            "step_ratio": self.step_ratio.to_dict(),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "VariantCost":
        """Build a cost from what `to_dict` returned."""
        return cls(
            params=tree["params"],
            macs=tree["macs"],
            latency=Duration(**tree["latency"]),
            step=Duration(**tree["step"]),
            latency_ratio=Ratio(**tree["latency_ratio"]),
            step_ratio=Ratio(**tree["step_ratio"]),
        )


@dataclass(frozen=True)
class CostRow:
    """One cost of a variant beside the baseline's, as tables and charts show it.

    Args:
        title: what is compared.
        figure: the cost as text.
        ratio: it over the baseline's.
        low: lower quartile of the ratio; the ratio itself for counts, which have no spread.
        high: its upper quartile.
        words: the ratio as text: counts are exact and often differ by little, measured ratios have two decimals.
    """

    title: str
    figure: str
    ratio: float
    low: float
    high: float
    words: str


def _counted(title: str, value: int, base: int) -> CostRow:
    ratio = value / base
    return CostRow(title, compact(value), ratio, ratio, ratio, change(ratio))


def _timed(title: str, time: Duration, ratio: Ratio) -> CostRow:
    return CostRow(title, duration(time.median), ratio.median, ratio.low, ratio.high, factor(ratio.median))
