"""What a quantisation did: which layers and which gates compute in 8 bits, and how far the file is from the network."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from senet.terminal import as_text


@dataclass(frozen=True)
class QuantizedNode:
    """Fate of one operation of the file that has weights, or that scales a map by a gate.

    Args:
        name: its weight's name, which says where it stands in the network, or its own where it has none.
        kind: its operation: "Conv", "Gemm", "MatMul", or "Mul" for a scaling.
        part: "network", "gate" or "scaling".
        precision: "int8"; "int8 weights" where what they are applied to stays float; or "float".
        reason: why it is not int8; "" if it is.
    """

    name: str
    kind: str
    part: str
    precision: str
    reason: str = ""


@dataclass(frozen=True)
class QuantizationReport:
    """Outcome of a quantisation.

    Args:
        file: the file.
        bytes: its size.
        float_bytes: the size of the same network's file in float32.
        gates: what was asked for the gates.
        calibration: how ranges were found.
        images: how many images they were found on.
        optimized: whether it is the inference form.
        rows: one for each operation that has weights or scales by a gate, in the order of the file.
        error: root of the mean square difference to the network's outputs on those images, relative to that of the outputs.
        agreement: share of the images (of the positions, for maps) on which the largest output is that of the network; None if there is
            only one.
    """

    file: str
    bytes: int
    float_bytes: int
    gates: str
    calibration: str
    images: int
    optimized: bool
    rows: tuple[QuantizedNode, ...]
    error: float
    agreement: float | None

    def count(self, part: str, precision: str) -> int:
        """Return how many operations of a part compute so."""
        return sum(row.part == part and row.precision == precision for row in self.rows)

    def table(self) -> Table:
        """Return a table for the terminal."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("file", self.file)
        table.add_row("size", f"{self.bytes / 2**20:.2f} MiB; in float32 {self.float_bytes / 2**20:.2f} MiB")
        table.add_row("form", "optimised for inference" if self.optimized else "as trained")
        table.add_row("ranges", f"{self.calibration}, of {self.images} images")
        counts = Counter((row.part, row.precision, row.reason) for row in self.rows)
        for (part, precision, reason), number in counts.items():
            table.add_row(PART_TITLES[part], f"{number} {precision}" + (f": {reason}" if reason else ""))
        table.add_row("differs", f"by {self.error:.1e} of the network's outputs (root mean square, on these images)")
        if self.agreement is not None:
            table.add_row("agrees", f"on {100 * self.agreement:.1f} % of what these images show")
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return as_text(self.table(), 160)


PART_TITLES = {"network": "layers", "gate": "gates' layers", "scaling": "gates' scaling"}
"""Part of a network -> what a table calls its operations."""
