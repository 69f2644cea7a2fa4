"""What was promised of a GPU, row by row, and what a result says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

Tree = Mapping[str, Any]
"""Measures of all parts, by key."""


@dataclass(frozen=True)
class Target:
    """Promise of one figure.

    Args:
        about: what is measured; ratios are of medians in one run.
        limit: the largest value that keeps it.
        before: what it was at a16d6e0 (H100 80GB HBM3, torch 2.11, Triton 3.6, 2026-11-26), or None.
        value: finds it in a result; raises LookupError if something was not measured.
        unit: of the value; empty = a ratio.
    """

    about: str
    limit: float
    before: float | None
    value: Callable[[Tree], float]
    unit: str = ""


def seconds(key: str, row: str, tree: Tree) -> float:
    """Return the median seconds of a row."""
    return tree[key]["timings"][row]["median"]


def ratio(key: str, mine: Sequence[str], base: Sequence[str], tree: Tree) -> float:
    """Return the time of the fastest of some rows over that of the fastest of others; rows that are missing do not count."""
    timings = tree[key]["timings"]
    fastest = [[timings[row]["median"] for row in rows if row in timings] for rows in (mine, base)]
    if not all(fastest):
        raise KeyError(key)
    return min(fastest[0]) / min(fastest[1])


def peak(key: str, row: str, base: str, tree: Tree) -> float:
    """Return the peak memory of a step over that of another."""
    return tree[key]["memory"][row]["peak"] / tree[key]["memory"][base]["peak"]


def over_floor(key: str, row: str, tree: Tree) -> float:
    """Return the time of one tail over that of its bytes."""
    return seconds(key, row, tree) / tree[key]["calls"][row] / tree[key]["floor"]


def host(row: str, tree: Tree) -> float:
    """Return the milliseconds of the host's time."""
    return tree["host"]["microseconds"][row] / 1000


def epoch(row: str, tree: Tree) -> float:
    """Return the median seconds of an epoch."""
    return median(tree[row]["counted"])


def epoch_ratio(row: str, base: str, tree: Tree) -> float:
    """Return the seconds of an epoch over those of another."""
    return epoch(row, tree) / epoch(base, tree)


def forms(form: str) -> tuple[str, ...]:
    """Return the rows of a form's inference."""
    return tuple(f"{form} {row}" for row in ("eager", "eager graph", "compiled", "optimised", "optimised graph", "optimised-compiled"))


R50 = "training R50 b256"
TARGETS = (
    Target(
        f"{R50}, SE by default / plain definition, launched one by one",
        0.90,
        1.57,
        partial(ratio, "resnet50", ["se fused"], ["plain eager"]),
    ),
    Target(
        f"{R50}, SE fused / plain definition, in a graph", 0.80, 0.88, partial(ratio, "resnet50", ["se fused graph"], ["plain eager graph"])
    ),
    Target(
        f"{R50}, SE fused / plain fused, in a graph", 1.015, 1.031, partial(ratio, "resnet50", ["se fused graph"], ["plain fused graph"])
    ),
    Target(
        f"{R50}, SE compiled / plain compiled",
        1.0,
        1.20,
        partial(ratio, "resnet50 compiled", ["se compiled-fused"], ["plain compiled", "plain compiled-fused"]),
    ),
    Target("one SE tail, C256 @ 56 / floor, in a graph", 1.15, 2.2, partial(over_floor, "C256 @ 56", "se triton graph")),
    Target("one SE tail, C512 @ 28 / floor, in a graph", 1.15, 4.2, partial(over_floor, "C512 @ 28", "se triton graph")),
    Target("one SE tail, C2048 @ 7 / floor, in a graph", 1.6, 16.6, partial(over_floor, "C2048 @ 7", "se triton graph")),
    Target("host time of one SE tail, forward and backward", 0.35, 2.5, partial(host, "identity, SE, training triton"), "ms"),
    Target("inference b256, SE / plain, best forms", 1.02, 1.069, partial(ratio, "batch 256", forms("se"), forms("plain"))),
    Target("inference b256, SE best / timm SE compiled", 0.80, 0.848, partial(ratio, "batch 256", forms("se"), ["se timm compiled"])),
    Target("inference b1, SE / plain, best forms", 1.12, 1.59, partial(ratio, "batch 1", forms("se"), forms("plain"))),
    Target("peak training memory, SE / plain, fused", 1.005, 1.003, partial(peak, "resnet50", "se fused", "plain fused")),
    Target("preresnet20 b128, CIFAR-10 epoch with validation, plain", 0.7, 15.0, partial(epoch, "preresnet20 plain"), "s"),
    Target("preresnet20 b128, epoch, SE / plain", 1.05, 1.3, partial(epoch_ratio, "preresnet20 se", "preresnet20 plain")),
    Target("preresnet110 b128, epoch, plain", 3.0, None, partial(epoch, "preresnet110 plain"), "s"),
)
"""The promises; `python -m benchmarks.gpu` says which of them a device keeps."""


def verdicts(tree: Tree) -> list[dict[str, Any]]:
    """Return for each promise the value found (None: not measured) and whether it is kept, ready for JSON."""
    found = []
    for target in TARGETS:
        try:
            value: float | None = target.value(tree)
        except (LookupError, TypeError, ValueError):
            value = None
        kept = None if value is None else value <= target.limit
        found.append(
            {"about": target.about, "unit": target.unit, "before": target.before, "limit": target.limit, "value": value, "kept": kept}
        )
    return found
