"""Residual tails alone, against the time that their bytes need, and what one costs the host."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch

from benchmarks.gpu.functions import captured
from benchmarks.gpu.place import Found, Place
from benchmarks.launches import device_or_stand_in, steps, timed
from benchmarks.tails import tail_candidates
from senet.benchmarking.run import Candidates
from senet.measuring.device import synchronize
from senet.measuring.steps import TrainingStep
from senet.spec import BlockSpec

MAPS = {"C256 @ 56": (256, 256, 56, 56), "C2048 @ 7": (256, 2048, 7, 7), "C512 @ 28": (256, 512, 28, 28), "C1024 @ 14": (256, 1024, 14, 14)}
"""What is promised comes first."""
QUICK_MAPS = {"C16 @ 4": (2, 16, 4, 4)}
UNITS = 10.13
"""Maps that a fused tail reads and writes, forward and backward, with a mask of one bit."""
REPEATS = 20
"""Graphs that are started before the device is waited for."""
COPIED = 2**30
"""Bytes of the copy whose rate the floor goes by: more than any cache holds."""


def copies(place: Place) -> Candidates:
    """Return a copy of one large map."""
    source = torch.zeros(COPIED if place.on_cuda else 2**22, dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(REPEATS):
            target.copy_(source)
        synchronize(source.device)

    return Candidates({"copy": copy})


def tails(place: Place) -> Iterator[Found]:
    """Yield the rate of a copy, the tails, each with its floor in seconds, and the host's time."""
    copy = place.measured(copies(place), f"{REPEATS} copies", "training")
    size = COPIED if place.on_cuda else 2**22
    rate = 2 * size * REPEATS / copy.timings["copy"].median
    yield "copy", copy.to_dict() | {"bytes_a_second": rate}
    for name, shape in (QUICK_MAPS if place.quick else MAPS).items():
        bytes_of_map = 2 * torch.Size(shape).numel()
        backends = ("reference", "triton") if place.on_cuda else ("reference",)
        candidates = tail_candidates(shape, BlockSpec("se"), backends, place.settings("training"))
        functions = dict(candidates.functions)
        for row, step in candidates.functions.items():
            if isinstance(step, TrainingStep):
                functions[row] = step.__call__
                functions[f"{row} graph"] = captured(step, REPEATS)
        found = place.measured(Candidates(functions), f"residual tail, {name}, bf16: forward and backward", "training")
        calls = {row: REPEATS if row.endswith("graph") and place.on_cuda else 1 for row in functions}
        yield name, found.to_dict() | {"calls": calls, "floor": UNITS * bytes_of_map / rate}
        place.free()
    yield "host", host_time(place)


def host_time(place: Place) -> dict[str, object]:
    """Return the host's microseconds of a tail on a map too small to count, forward and backward."""
    with device_or_stand_in() if place.on_cuda else nullcontext("cpu") as device:
        found = steps(device)
        wanted = {
            f"{name} {which}": step for name in WANTED for which, step in found[name].items() if place.on_cuda or which == "reference"
        }
        for function in wanted.values():
            function()
        return {"microseconds": timed(wanted, 2 if place.quick else 15, 2 if place.quick else 100)}


WANTED = ("identity, plain, training", "identity, SE, training", "projected, SE, training")
