"""What a few seeds can say: mean, standard deviation, and the paired difference with its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

PairedFinding = Literal["higher", "lower", "unclear", "one seed", "no spread"]


def spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1), or None for a single value."""
    return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """Difference of two variants that were trained with the same seeds.

    Args:
        by_seed: variant minus baseline, one value a seed.
        mean: their mean.
        sd: their standard deviation (n - 1); None for one seed.
        low: lower end of the t-interval of the mean, at 95 % unless several are looked at together; None where there is no interval.
        high: its upper end.
    """

    by_seed: tuple[float, ...]
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def finding(self) -> PairedFinding:
        """What the differences support: "higher" and "lower" only when the interval excludes 0."""
        if self.sd is None:
            return "one seed"
        if self.low is None or self.high is None:
            return "no spread"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "unclear"


def level_of_each(together: int) -> float:
    """Return the level of each of several intervals that all hold together at 95 % (Bonferroni): 1 - 0.05 / together."""
    return 1 - 0.05 / together


def paired_difference(values: Sequence[float], baseline: Sequence[float], *, together: int = 1) -> Difference:
    """Compare two variants seed by seed: mean(d) ± t(0.975, n - 1) · sd(d) / √n.

    The same seed gives both variants the same images in the same order with the same augmentation, so that noise cancels in the difference.
    Equal differences give no interval: they say nothing about chance, least of all that there is none.

    Args:
        values: the variant's results, one a seed.
        baseline: the baseline's results with the same seeds in the same order.
        together: how many differences one statement rests on; their intervals are as much wider as it takes to hold together.

    Raises:
        ValueError: if the two have different lengths or are empty.
    """
    by_seed = tuple(value - base for value, base in zip(values, baseline, strict=True))
    mean, sd = fmean(by_seed), spread(by_seed)
    if sd is None or sd <= 1e-9 * max(1.0, abs(mean)):  # rounding of equal differences is no spread
        return Difference(by_seed, mean, sd, None, None)
    from scipy.special import stdtrit

    half = float(stdtrit(len(by_seed) - 1, (1 + level_of_each(together)) / 2)) * sd / len(by_seed) ** 0.5
    return Difference(by_seed, mean, sd, mean - half, mean + half)
