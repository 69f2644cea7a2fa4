"""What bytes and launches let expect of each promise, without a device.

Measured parts are those of one H100 80GB HBM3, torch 2.11.0+cu130, Triton 3.6: where no commit is named of a16d6e0, 2026-11-26; what had
been assumed and was refuted on 2026-11-27 is as c9db504 and a2eda3d measured it. Launches of tails are counted in the code as it is, with
Triton compiling for an H100 that is not there; convolutions and pooling stay as they were.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.gpu.targets import TARGETS
from benchmarks.launches import device_or_stand_in, kernels_of, steps
from benchmarks.run import COMMITTED, HERE
from benchmarks.tail_prediction import predicted
from senet.atomic import write_text
from senet.measuring.machine import bench_environment
from senet.ops.tail.worthwhile import AROUND, HOST, SAVINGS

RATE = 3.02e12
"""Bytes a second of a copy; measured."""
REACHED = 10.3 / 12.6
"""Share of that rate that the passes of all tails of a step reach; measured."""
SMALL = 33e-6
"""Seconds of a kernel over vectors of a gate, its launch included; measured (c9db504): what gates add to a step, without their bytes.

The products of both FCs take it: they reach a fifteenth of the rate of a multiprocessor, see `benchmarks.tail_prediction`.
"""

EAGER = 62.8e-3, 63.8e-3
"""Step of plain ResNet-50 at 256 images by the definition, in a graph and launched one by one; measured."""
FUSED = 53.5e-3
"""The plain step with its 16 tails fused, in a graph; measured with more launches than there are today."""
COMPILED = 45.0e-3
"""The plain step by torch.compile; measured."""
INNER = 16e-3, 8.2 / 13
"""The 33 other BNs with their ReLUs by the definition, measured; and passes over maps of the fused form over those of the definition."""
INNER_MAPS = (
    *((64 * 112**2, 1), (64 * 56**2, 6), (128 * 56**2, 1), (128 * 28**2, 7)),
    *((256 * 28**2, 1), (256 * 14**2, 11), (512 * 14**2, 1), (512 * 7**2, 5)),
)
"""Values of a map of these BNs in one image, and how many there are, stage by stage; the 3x3 strides."""
IMAGES = 256
TAILS, UNIT, INDUCTOR = 16, 2.826e9, 35.8e9
"""Tails, bytes of all their maps once, and bytes that Inductor's plain tails move, forward and backward."""
VECTORS = 0.54e9
"""Bytes of the vectors of all SE tails, at most."""

MAPS = {"C256 @ 56": (256, 56), "C512 @ 28": (512, 28), "C2048 @ 7": (2048, 7)}
"""Map -> its channels and its side."""

INFERENCE = {"plain b256": 11.22e-3, "timm SE b256": 14.14e-3, "plain b1": 0.448e-3}
"""Best forms; measured."""
PROLOGUE = {256: 10e-6, 1: 3.2e-6}
"""Images -> seconds that a unit's gate takes inside a kernel that the plain network has, too: both FCs; measured (a2eda3d)."""

STEPS, BATCHES = 390, 40
"""Training steps and validation batches of an epoch of CIFAR-10 at 128 images."""
CONVOLUTION = 6
"""Launches of a convolution, forward and backward with conversions to bfloat16; assumed."""
KERNEL, GATE_KERNEL = 11.1e-6, 25e-6
"""Seconds of a kernel of a unit and of one that only a gate has, launches in a graph included; measured (a2eda3d).

They are what the 45 units that preresnet110 has more add to a step, and what gates add to one of preresnet20, over their launches: maps are
too small to fill the device. What each kernel takes is not known.
"""
STEP_REST = 1.07e-3
"""Seconds of a step beside its units: stem, head, loss, optimiser, and what waits for the host; measured (a2eda3d)."""
VALIDATION = {"plain": 0.43e-3, "SE": 0.72e-3}
"""Form of a unit -> its seconds in a batch of validation, which the host launches one by one; measured (a2eda3d)."""
EPOCH_END = 0.21
"""Seconds of validation beside its units, figures, weights and checkpoint at the end of an epoch; measured (a2eda3d)."""
UNITS = {"preresnet20": 9, "preresnet110": 54}
"""Network -> residual units, of two convolutions each."""


ALONE = 1.7
"""What a tail took the H100's host over the core of `benchmarks.launches`; measured (a2eda3d). For whole steps it was `HOST` times."""


@dataclass(frozen=True)
class Counts:
    """Launches of the kernels of one tail, forward and backward, by its form in `benchmarks.launches`, and the host's microseconds.

    Args:
        launches: form -> launches.
        host: microseconds of a tail with SE.
        more: microseconds that a BN with its ReLU takes as one operator, over the definition.
    """

    launches: Mapping[str, int]
    host: float
    more: float

    def small(self, form: str) -> int:
        """Return the launches over vectors: all but two passes over maps in each direction."""
        return self.launches[f"{form}, training"] - 4


def counted() -> Counts:
    """Count launches of the operator in the code as it is, and take the host's time from the committed measurement."""
    with device_or_stand_in() as device:
        launches = {}
        for name, both in steps(device).items():
            both["triton"]()
            launches[name] = kernels_of(both["triton"])
    (file,) = (HERE / "results").glob("launches.*.json")
    tails = json.loads(file.read_text(encoding="utf-8"))["tails"]
    alone = tails["none, plain, training"]
    return Counts(launches, tails["identity, SE, training"]["triton"]["host"], alone["triton"]["host"] - alone["reference"]["host"])


def predictions(counts: Counts) -> dict[str, tuple[float, str]]:
    """Return for the promises, in their order by what they are about, the value and how it was found."""
    gate = TAILS * (counts.small("identity, SE") - counts.small("identity, plain")) * SMALL + VECTORS / RATE
    saved_inner = INNER[0] * (1 - INNER[1])
    plain = FUSED - saved_inner
    se = plain + gate
    compiled = COMPILED - INDUCTOR / RATE + 10.97 * UNIT / RATE / REACHED + gate
    tails = [predicted(*shape) for shape in MAPS.values()]
    epochs = {name: _epoch(name, counts, "plain") for name in UNITS}
    recalibrated = _epoch("preresnet20", counts, "SE")
    taken, count = taken_one_by_one()
    inference = INFERENCE["plain b256"] + TAILS * PROLOGUE[256]
    values = [
        (
            max(se + (1 - taken) * saved_inner, AROUND + HOST * 1e-6 * (TAILS * counts.host + count * counts.more)) / EAGER[1],
            "the longer of: the step of the row below, with BN and ReLU by the definition where maps are below the threshold; the host",
        ),
        (se / EAGER[0], "plain fused step, less 33 x BN and ReLU at 8.2 of 13 passes, plus launches and bytes of the gates' vectors"),
        (se / plain, "launches and bytes of the gates' vectors"),
        (compiled / COMPILED, "Inductor's tails, at the full rate, exchanged for the operator's at the rate that its passes reach"),
        *(
            (tail.whole / tail.floor, "benchmarks.tail_prediction: passes at the rates of each, and the kernels over vectors")
            for tail in tails
        ),
        (ALONE * counts.host / 1000, "benchmarks.launches, on a CPU without a GPU, times what the GPU's host took longer"),
        (inference / INFERENCE["plain b256"], "as many kernels and bytes as the plain form; 16 gates inside of them"),
        (inference / INFERENCE["timm SE b256"], "the same, over the measured peer"),
        ((INFERENCE["plain b1"] + TAILS * PROLOGUE[1]) / INFERENCE["plain b1"], "the same"),
        (10.87 / 10.84, "measured: fused tails keep x, y and a mask, with a gate or without"),
        (epochs["preresnet20"], "kernels of units in a graph, the rest of a step, validation and the end of an epoch"),
        (recalibrated / epochs["preresnet20"], "the same, with the kernels of the gates"),
        (epochs["preresnet110"], "kernels of units in a graph, the rest of a step, validation and the end of an epoch"),
    ]
    return {target.about: value for target, value in zip(TARGETS, values, strict=True)}


def taken_one_by_one() -> tuple[float, int]:
    """Return the share of the inner BNs' bytes whose maps are large enough for the operator where kernels are launched one by one.

    And how many of these BNs there are.
    """
    least = SAVINGS["none", False, True].least(2, True)
    taken = [(size * count, count) for size, count in INNER_MAPS if size * IMAGES >= least]
    return sum(size for size, _ in taken) / sum(size * count for size, count in INNER_MAPS), sum(count for _, count in taken)


def _epoch(network: str, counts: Counts, form: str) -> float:
    """Return the seconds of an epoch in which each training step is one graph."""
    units, launches = UNITS[network], counts.launches
    plain = 2 * CONVOLUTION + launches["none, plain, training"] + launches["pair, plain, training"]
    gate = launches[f"pair, {form}, training"] - launches["pair, plain, training"]
    step = STEP_REST + units * (KERNEL * plain + GATE_KERNEL * gate)
    return STEPS * step + BATCHES * units * VALIDATION[form] + EPOCH_END


def tree_of(counts: Counts) -> dict[str, Any]:
    """Return the predictions, ready for JSON."""
    found = predictions(counts)
    rows = []
    for target in TARGETS:
        value, how = found[target.about]
        rows.append(
            {
                "about": target.about,
                "unit": target.unit,
                "before": target.before,
                "limit": target.limit,
                "predicted": round(value, 4),
                "how": how,
            }
        )
    return {"benchmark": "gpu, predicted", "launches": dict(counts.launches), "targets": rows}


def main(out: Path) -> int:
    """Write and print the predictions."""
    facts = bench_environment("cpu", ("triton",), (*COMMITTED, HERE / "gpu"))
    tree = facts | tree_of(counted())
    path = out / "gpu.predicted.json"
    write_text(path, json.dumps(tree, indent=1) + "\n")
    table = Table("predicted, not measured", "before", "target", "predicted", "", box=None, pad_edge=False)
    for row in tree["targets"]:
        numbers = ["-" if row[name] is None else f"{row[name]:.4g}" for name in ("before", "limit", "predicted")]
        table.add_row(
            Text(f"{row['about']}{row['unit'] and ', ' + row['unit']}"), *numbers, "above" if row["predicted"] > row["limit"] else ""
        )
    Console(width=160).print(table)
    print(path)
    return 0
