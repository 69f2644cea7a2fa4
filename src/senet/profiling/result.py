"""The result of profiling a network: rows for its parts, totals, the blocks' share, ratios to the plain twin."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from senet.measuring.counting import Cost
from senet.measuring.numbers import compact, compact_bytes, milliseconds, plural
from senet.measuring.timing import Ratio, Timing, ratio

HEADINGS = ("params", "MACs", "SE\nMACs", "SE\nadds", "memory", "ms", "quartiles", "SE\nms")
CAPTION = (
    "MACs, additions and memory (what training keeps for the backward pass without fused tails) are per image, ms per batch. "
    "SE: the recalibration blocks' share; MACs of their layers and of the scaling, additions of the squeeze."
)


LONG_CALL = 2.0
"""Seconds of a forward pass beyond which few are timed."""


@dataclass(frozen=True)
class PartRow:
    """One part of a network in a profile.

    Args:
        path: its place in the model; "" is what the network does outside its parts.
        kind: class of the module.
        cost: what it costs, everything inside it included.
        share: what the recalibration blocks inside it cost.
        latency: its time in a forward pass of the batch, measured by hooks: read it against the other rows, not against the total.
        share_latency: the time of its recalibration blocks.
    """

    path: str
    kind: str
    cost: Cost
    share: Cost
    latency: Timing | None = None
    share_latency: Timing | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        tree = {"path": self.path, "kind": self.kind} | _entries(self.cost, self.latency)
        return tree | {"share": _entries(self.share, self.share_latency)}


@dataclass(frozen=True)
class Profile:
    """Cost of a network, part by part.

    Args:
        name: name of the network, or its class.
        input_size: (N, C, H, W) of the batch it was measured on.
        device: where, with the number of threads of a CPU.
        dtype: floating type of weights and images.
        blocks: one row for each part of the network.
        latency: a forward pass of the batch in evaluation mode; None if it was not measured.
        plain: the same network without its recalibration blocks; None if it has none, or is not from the zoo.
        counted_for: what is counted where that depends on what an image shows, in a sentence; "" where it does not.
    """

    name: str
    input_size: tuple[int, ...]
    device: str
    dtype: str
    blocks: tuple[PartRow, ...] = field(repr=False)
    latency: Timing | None = None
    plain: "Profile | None" = field(default=None, repr=False)
    counted_for: str = ""

    @property
    def cost(self) -> Cost:
        """What the whole network costs."""
        return sum((row.cost for row in self.blocks), Cost())

    @property
    def share(self) -> Cost:
        """What its recalibration blocks cost."""
        return sum((row.share for row in self.blocks), Cost())

    @property
    def params(self) -> int:
        """Parameters."""
        return self.cost.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image, as the papers count: convolutions, linear layers and the gates' scaling."""
        return self.cost.macs

    @property
    def squeeze_adds(self) -> int:
        """Additions of the squeezes, per image."""
        return self.cost.squeeze_adds

    @property
    def activation_bytes(self) -> int:
        """Memory that training keeps for the backward pass, per image at this batch size."""
        return self.cost.activation_bytes

    @property
    def ratios(self) -> dict[str, float | Ratio]:
        """Params, macs, activation_bytes and latency over those of the plain twin; empty without one."""
        if self.plain is None:
            return {}
        ratios: dict[str, float | Ratio] = {
            name: getattr(self, name) / getattr(self.plain, name) for name in ("params", "macs", "activation_bytes")
        }
        if self.latency is not None and self.plain.latency is not None:
            ratios["latency"] = ratio(self.latency, self.plain.latency)
        return ratios

    @property
    def latency_share(self) -> float | None:
        """The blocks' part of the time of all parts, as the hooks saw it; 0.1 = a tenth."""
        times = [(row.share_latency.median, row.latency.median) for row in self.blocks if row.latency and row.share_latency]
        return sum(share for share, _ in times) / sum(whole for _, whole in times) if times else None

    def table(self) -> Table:
        """Return the parts, the total, the blocks' share in it, and the comparison with the plain twin."""
        batch = "x".join(map(str, self.input_size))
        title = f"{self.name}, {batch} {self.dtype}, {self.device}"
        caption = CAPTION + (f" {self.counted_for}" if self.counted_for else "") + self._said_of_rounds()
        table = Table(
            "part", *HEADINGS, title=title, caption=caption, title_justify="left", caption_justify="left", box=None, pad_edge=False
        )
        for column in table.columns:
            column.justify, column.no_wrap = "left" if column is table.columns[0] else "right", True
        for row in self.blocks:
            table.add_row(row.path or "(elsewhere)", *_cells(row.cost, row.share, row.latency, row.share_latency))
        table.add_row()
        table.add_row("total", *_cells(self.cost, self.share, self.latency, None), style="bold")
        if self.share != Cost():
            table.add_row("of it SE", *_shares(self.share, self.cost, self.latency_share))
        if self.plain is not None:
            table.add_row(self.plain.name, *_cells(self.plain.cost, self.plain.share, self.plain.latency, None))
            table.add_row("ratio", *_ratios(self.ratios), style="bold")
        if isinstance(time := self.ratios.get("latency"), Ratio):
            table.add_row("CPU time ratio", "", "", "", "", "", f"{time.cpu:.2f}")
        return table

    def _said_of_rounds(self) -> str:
        if self.latency is None or self.latency.median <= LONG_CALL:
            return ""
        return f" A pass takes {self.latency.median:.1f} s: ms are of {plural(self.latency.rounds, 'round')} of timing."

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: counts and bytes per image, seconds for the batch."""
        tree = self._summary() | {"blocks": [row.to_dict() for row in self.blocks]}
        if self.counted_for:
            tree["counted_for"] = self.counted_for
        if self.plain is not None:
            tree["plain"] = self.plain._summary()
            tree["ratios"] = {name: value.to_dict() if isinstance(value, Ratio) else value for name, value in self.ratios.items()}
        return tree

    def _summary(self) -> dict[str, Any]:
        facts = {"name": self.name, "input_size": list(self.input_size), "device": self.device, "dtype": self.dtype}
        return facts | _entries(self.cost, self.latency) | {"share": asdict(self.share) | {"latency": self.latency_share}}


def _entries(cost: Cost, latency: Timing | None) -> dict[str, Any]:
    return asdict(cost) | {"latency": None if latency is None else latency.to_dict()}


def _cells(cost: Cost, share: Cost, latency: Timing | None, share_latency: Timing | None) -> list[str]:
    counts = [f"{cost.params:,}", *(compact(n) for n in (cost.macs, share.macs, cost.squeeze_adds)), compact_bytes(cost.activation_bytes)]
    times = ["", ""] if latency is None else [milliseconds(latency.median), f"{milliseconds(latency.low)}-{milliseconds(latency.high)}"]
    return [*counts, *times, milliseconds(share_latency.median) if share_latency is not None and share != Cost() else ""]


def _shares(share: Cost, cost: Cost, latency: float | None) -> list[str]:
    params, macs, memory = share.params / cost.params, share.macs / cost.macs, share.activation_bytes / cost.activation_bytes
    return [f"{params:.2%}", f"{macs:.2%}", "", "", f"{memory:.2%}", "" if latency is None else f"{latency:.1%}"]


def _ratios(ratios: dict[str, float | Ratio]) -> list[str]:
    cells = {name: f"{value:.4f}" for name, value in ratios.items() if not isinstance(value, Ratio)}
    times = ["", ""]
    if isinstance(time := ratios.get("latency"), Ratio):
        times = [f"{time.median:.2f}", f"{time.low:.2f}-{time.high:.2f}"]
    return [cells["params"], cells["macs"], "", "", cells["activation_bytes"], *times]
