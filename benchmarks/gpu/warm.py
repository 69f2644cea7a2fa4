"""What is compiled beforehand, by several processes at a time, into the caches of Triton and of Inductor that all parts share."""

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from benchmarks.gpu import inference, training
from benchmarks.gpu.functions import row_function
from benchmarks.gpu.place import Found, Place
from benchmarks.gpu.processes import run_here
from benchmarks.registry import THEIRS


@dataclass(frozen=True)
class Warming:
    """Row that one process compiles.

    Args:
        mode: "training" or "inference".
        row: the row.
        batch: images in a batch.
        environment: variables that are set for it.
    """

    mode: str
    row: str
    batch: int = 256
    environment: Mapping[str, str] = field(default_factory=dict)


COOPERATIVE = {"TORCHINDUCTOR_COOPERATIVE_REDUCTIONS": "1"}
WARMINGS = (
    *(Warming("training", row) for row in training.COMPILED),
    *(
        Warming("inference", row, batch)
        for batch in inference.BATCHES
        for row in ("plain optimised-compiled", "se optimised-compiled", "plain compiled", "se timm compiled")
    ),
    *(Warming("inference", "se compiled", batch) for batch in inference.BATCHES),
    *(Warming("training", row) for row in training.COMPILED_TOO),
    *(Warming("training", row, environment=COOPERATIVE) for row in training.COOPERATIVE),
)
"""What promises are about comes first."""
AT_A_TIME = {"training": 2, "inference": 8}
"""Processes of each mode: a training step holds some 12 GB of the device's memory, a forward pass some 2."""
SECONDS = 140.0
"""For all of them."""


def warm(place: Place) -> Iterator[Found]:
    """Yield which rows were compiled, as they are; what was not is compiled when it is measured."""
    chosen = [0] if place.quick else range(len(WARMINGS))
    began, pools = time.monotonic(), {mode: ThreadPoolExecutor(count) for mode, count in AT_A_TIME.items()}

    def run(index: int) -> dict[str, object]:
        extra = {"TORCHINDUCTOR_COMPILE_THREADS": "3", **WARMINGS[index].environment}
        left = SECONDS - (time.monotonic() - began)
        if left < 1:
            return {"exit_code": None, "said": "no time was left"}
        return run_here(["--warm", str(index), *place_words(place)], left, os.environ | extra)

    submitted = {pools[WARMINGS[index].mode].submit(run, index): WARMINGS[index] for index in chosen}
    for future in as_completed(submitted):
        wanted = submitted[future]
        yield f"compiled: {wanted.mode}, {wanted.row}, {wanted.batch}{', cooperative' * bool(wanted.environment)}", future.result()


def warm_one(place: Place, index: int) -> None:
    """Compile one entry of `WARMINGS`, in this process."""
    wanted = WARMINGS[index]
    if wanted.mode == "training" or place.quick:
        row = "plain eager" if place.quick else wanted.row
        row_function(training.training_work(place, "resnet50", wanted.batch, **THEIRS), row)
        return
    row_function(inference.inference_work(place, wanted.batch), wanted.row)


def place_words(place: Place) -> list[str]:
    """Return the words of the command line that say where to measure."""
    data = [] if place.data is None else ["--data", str(place.data)]
    return ["--device", place.device, "--folder", str(place.folder), *data, *(["--quick"] if place.quick else [])]
