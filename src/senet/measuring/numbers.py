"""How numbers read in tables, charts and sentences; one place, so that they agree."""

from collections.abc import Sequence
from statistics import fmean

from senet.measuring.paired import spread

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def signed(value: float, digits: int = 2) -> str:
    """Write a difference with its sign, typographic minus included; what rounds to zero has none."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


def with_unit(value: float, unit: str = "", digits: int = 2) -> str:
    """Write a figure with its unit: "0.28 points"."""
    return f"{value:.{digits}f} {unit}".rstrip()


def mean_sd(values: Sequence[float], digits: int = 2) -> str:
    """Write "98.61 ± 0.32", or the value alone when there is one."""
    sd = spread(values)
    return f"{fmean(values):.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def change(ratio: float) -> str:
    """Write a ratio as a change: 1.103 is "+10.3 %", 1 is "±0 %"."""
    percent = (ratio - 1) * 100
    digits = 0 if abs(percent) >= 10 else 1 if abs(percent) >= 1 else 2
    text = signed(percent, digits)
    return f"{'±0' if float(text.replace(MINUS, '-')) == 0 else text} %"


def factor(ratio: float) -> str:
    """Write a measured ratio as a factor, with two decimals."""
    return f"{ratio:.2f}{TIMES}"


def compact(value: float) -> str:
    """Write a number in three figures with a decimal prefix: 272474 is "272 k", 40.58e6 is "40.6 M"."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{_three_digits(value / limit)}{unit}"
    return f"{value:.0f}"


def compact_bytes(value: float) -> str:
    """Write an amount of memory: "3.86 MB", "512 B"."""
    text = compact(value)
    return f"{text}{'' if ' ' in text else ' '}B"


def milliseconds(seconds: float) -> str:
    """Write a time for a column of milliseconds: "0.05", "3.86", "11.3", "128"."""
    return _three_digits(seconds * 1e3)


def plural(number: int, noun: str) -> str:
    """Write "1 thread", "4 threads"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write a time: "1.25 ms", "3.4 s"."""
    for limit, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= limit:
            return f"{_three_digits(seconds / limit)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns"


def _three_digits(value: float) -> str:
    """Write three digits, but no more than two decimals; the limits are where rounding adds a digit."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
