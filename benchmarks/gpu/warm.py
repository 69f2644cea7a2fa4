"""What is compiled beforehand, by several processes at a time, into the caches of Triton and of Inductor that all parts share."""

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.gpu import inference, training
from benchmarks.gpu.functions import row_function
from benchmarks.gpu.place import Found, Place
from benchmarks.gpu.processes import run_here
from benchmarks.registry import THEIRS
from senet.benchmarking.workload import workload


@dataclass(frozen=True)
class Warming:
    """Rows that one process compiles.

    Args:
        mode: "training" or "inference".
        row: the row.
        environment: variables that are set for it.
    """

    mode: str
    row: str
    environment: Mapping[str, str] = field(default_factory=dict)


COOPERATIVE = {"TORCHINDUCTOR_COOPERATIVE_REDUCTIONS": "1"}
WARMINGS = (
    *(Warming("training", row) for row in (*training.COMPILED, "se fused")),
    *(Warming("training", row, COOPERATIVE) for row in training.COOPERATIVE),
    *(Warming("inference", f"{form} {row}") for form in ("plain", "se") for row in inference.ROWS if "compiled" in row),
    Warming("inference", "se timm compiled"),
)
AT_A_TIME = {"training": 5, "inference": 6}
"""Processes of each mode: a training step holds some 12 GB of the device's memory, a forward pass some 2."""
SECONDS = 95.0
"""For all of them."""


def warm(place: Place) -> Iterator[Found]:
    """Yield which rows were compiled; what was not is compiled when it is measured."""
    chosen = [0] if place.quick else range(len(WARMINGS))
    began, pools = time.monotonic(), {mode: ThreadPoolExecutor(count) for mode, count in AT_A_TIME.items()}

    def run(index: int) -> dict[str, object]:
        extra = {"TORCHINDUCTOR_COMPILE_THREADS": "3", **WARMINGS[index].environment}
        left = SECONDS - (time.monotonic() - began)
        if left < 1:
            return {"exit_code": None, "said": "no time was left"}
        return run_here(["--warm", str(index), *place_words(place)], left, os.environ | extra)

    found = {index: pools[WARMINGS[index].mode].submit(run, index) for index in chosen}
    for index, future in found.items():
        yield f"{WARMINGS[index].mode} {WARMINGS[index].row}, {index}", future.result()


def warm_one(place: Place, index: int) -> None:
    """Compile one entry of `WARMINGS`, in this process."""
    wanted = WARMINGS[index]
    if wanted.mode == "training" or place.quick:
        row = "plain eager" if place.quick else wanted.row
        row_function(training.training_work(place, "resnet50", 256, **THEIRS), row)
        return
    for batch in inference.BATCHES:
        row_function(workload("resnet50", place.settings("inference"), place.folder, batch=batch, **THEIRS), wanted.row)


def place_words(place: Place) -> list[str]:
    """Return the words of the command line that say where to measure."""
    data = [] if place.data is None else ["--data", str(place.data)]
    return ["--device", place.device, "--folder", str(place.folder), *data, *(["--quick"] if place.quick else [])]
