"""What was measured, with its tables and its plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table

from senet.benchmarking.memory import Memory
from senet.errors import UsageError
from senet.measuring.numbers import milliseconds, plural
from senet.measuring.timing import Ratio, Timing, ratio
from senet.terminal import literal

CLOCKS = {"cpu": "CPU", "wall": "wall"}
"""The clock of the ratios, and its heading: process-CPU time is steadier, but says nothing of other devices."""


def clock_of(device: str) -> str:
    """Return the clock that ratios on a device are of."""
    return "cpu" if device.partition(":")[0] == "cpu" else "wall"


@dataclass(frozen=True)
class Comparison:
    """Functions that were timed against each other in one interleaved run.

    Args:
        about: what they do.
        timings: name -> timing; the first is what the others are compared with.
        pairs: engine -> names of its recalibrated and its plain function.
        memory: name -> memory of one training step.
        clock: "cpu" or "wall", the time that ratios between functions are of.
        limit: the ratio to the first that none may exceed; None = nothing is promised.
        notes: what a reader must know.
        interrupted: whether rounds, or the memory of some, are missing.
    """

    about: str
    timings: Mapping[str, Timing]
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    memory: Mapping[str, Memory] = field(default_factory=dict)
    clock: str = "cpu"
    limit: float | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def base(self) -> str:
        """The function that the others are compared with."""
        return next(iter(self.timings))

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Name -> its time over that of the first function."""
        return {name: ratio(timing, self.timings[self.base]) for name, timing in self.timings.items() if name != self.base}

    def overhead(self, engine: str) -> Ratio:
        """Return an engine's recalibrated time over its plain time; median and quartiles are those of the comparison's clock."""
        mine, base = (_timing_of(self.clock, self.timings[name]) for name in self.pairs[engine])
        return ratio(mine, base)

    def within_limit(self) -> bool:
        """Return whether no function exceeds the limit."""
        return all(found.cpu <= self.limit for found in self.ratios.values()) if self.limit else True

    def table(self) -> Group:
        """Return one line a function: times and ratios, and memory where it was measured."""
        ratios = f"ratio: {CLOCKS[self.clock]} time over that of {self.base}; " if len(self.timings) > 1 else ""
        over = f"/ plain: {CLOCKS[self.clock]} time over that of the plain form on the same engine; " if self.pairs else ""
        said = f"{over}{ratios}medians of {self.timings[self.base].rounds} interleaved rounds"
        tables = [self._times(), *([self._memory()] if self.memory else [])]
        return Group(literal(self.about, "bold"), *tables, *(literal(note, "dim") for note in (said, *self.notes)), "")

    def _times(self) -> Table:
        table = _table("", "ms", "quartiles", "CPU ms", *(("/ plain", "quartiles") if self.pairs else ()), f"{CLOCKS[self.clock]} ratio")
        for name, timing in self.timings.items():
            engine = self._engine_of(name)
            paired = ["", ""] if engine is None else _spread(self.overhead(engine))
            ratio = "" if name == self.base else f"{_ratio_of(self.clock, self.ratios[name]):.3f}"
            spread = f"{milliseconds(timing.low)}-{milliseconds(timing.high)}"
            table.add_row(name, milliseconds(timing.median), spread, milliseconds(timing.cpu), *(paired if self.pairs else ()), ratio)
        return table

    def _memory(self) -> Table:
        table = _table("", "saved MB", "/ plain", "peak MB", "/ plain")
        for name, found in self.memory.items():
            engine = self._engine_of(name)
            plain = None if engine is None else self.memory[self.pairs[engine][1]]
            cells = [f"{found.saved / 1e6:.1f}", "", f"{found.peak / 1e6:.1f}", ""]
            if plain is not None:
                cells[1], cells[3] = f"{found.saved / plain.saved:.3f}", f"{found.peak / plain.peak:.3f}"
            table.add_row(name, *cells)
        return table

    def _engine_of(self, name: str) -> str | None:
        """Return the engine whose recalibrated function this is, if it is one."""
        return next((engine for engine, (recalibrated, _) in self.pairs.items() if recalibrated == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: seconds and bytes."""
        return {
            "about": self.about,
            "base": self.base,
            "limit": self.limit,
            "clock": self.clock,
            "timings": {name: t.to_dict() | {"walls": t.walls, "cpus": t.cpus} for name, t in self.timings.items()},
            "ratios": {name: found.to_dict() for name, found in self.ratios.items()},
            "pairs": {engine: list(names) for engine, names in self.pairs.items()},
            "overheads": {engine: self.overhead(engine).to_dict() for engine in self.pairs},
            "memory": {name: memory.to_dict() for name, memory in self.memory.items()},
            "notes": list(self.notes),
            "interrupted": self.interrupted,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Comparison":
        """Read what `to_dict` gave.

        Raises:
            UsageError: if it does not hold the single rounds.
        """
        try:
            timings = {name: Timing(tuple(t["walls"]), tuple(t["cpus"])) for name, t in tree["timings"].items()}
        except (KeyError, TypeError, AttributeError):
            raise UsageError("no single rounds of timing are in it; measure again") from None
        return cls(
            about=tree["about"],
            timings=timings,
            pairs={engine: (names[0], names[1]) for engine, names in tree["pairs"].items()},
            memory={name: Memory(**found) for name, found in tree["memory"].items()},
            clock=tree["clock"],
            limit=tree["limit"],
            notes=tuple(tree["notes"]),
            interrupted=tree["interrupted"],
        )


@dataclass(frozen=True)
class BenchResult:
    """Outcome of a run of `senet bench`.

    Args:
        environment: device, threads, versions, commit and date.
        settings: what was asked for.
        comparisons: what was measured.
    """

    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    comparisons: tuple[Comparison, ...]

    def table(self) -> Group:
        """Return the tables, and below them the environment."""
        facts = self.environment
        threads = plural(facts["threads"], "thread")
        versions = ", ".join(f"{name} {found}" for name, found in facts["versions"].items())
        where = f"{facts['device']}, {threads}; {versions}; commit {facts['commit'] or 'unknown'}; {facts['date']}"
        return Group(*(comparison.table() for comparison in self.comparisons), literal(where, "dim"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            **self.environment,
            "settings": dict(self.settings),
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }


def comparisons_of(tree: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return the comparisons in a JSON file of `senet bench`, or the one in a file of a single comparison.

    Raises:
        UsageError: if there are none.
    """
    found = tree.get("comparisons", [tree])
    if not found or any("timings" not in comparison for comparison in found):
        raise UsageError("it holds no comparisons")
    return tuple(map(Comparison.from_dict, found))


def _timing_of(clock: str, timing: Timing) -> Timing:
    """Return a timing whose wall clock is the one asked for, so that its median and quartiles are."""
    return Timing(timing.cpus, timing.cpus) if clock == "cpu" else timing


def _ratio_of(clock: str, found: Ratio) -> float:
    return found.cpu if clock == "cpu" else found.median


def _spread(found: Ratio) -> list[str]:
    return [f"{found.median:.3f}", f"{found.low:.2f}-{found.high:.2f}"]


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify, column.no_wrap = "left" if column is table.columns[0] else "right", True
    return table
