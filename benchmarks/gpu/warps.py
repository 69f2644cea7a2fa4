"""Kernels over vectors by how many warps their programs have: what each, and each pass over maps, takes of a tail with SE on the device."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.gpu.place import Found, Place
from benchmarks.gpu.tails import MAPS, QUICK_MAPS
from benchmarks.gpu.training import by_kernel, training_work
from benchmarks.tails import tail_candidates
from senet.benchmarking.engines import ENGINES
from senet.ops.passes.triton import launch
from senet.ops.passes.triton.vector_grid import WARPS
from senet.spec import BlockSpec

KERNELS = ("statistics", "gate", "gate_gradient", "squeeze_gradient", "norm_gradient")
OF_PAIRS = ("plain_gradient", "pair_statistics", "pair_gate", "pair_gate_gradient")
PASSES = ("moments", "reduce", "affine")
PASSES_OF_PAIRS = ("pair_moments", "reduce_pair", "add_pair", "spread_pair")
CHOICES = (WARPS, 2, 8)
"""The first is what tails launch."""
STEPS = 8


def by_warps(place: Place) -> Iterator[Found]:
    """Yield the milliseconds of each kernel by the warps of a program: for each map in eight tails, then in a step of preresnet20."""
    backend = "triton" if place.on_cuda else "reference"
    for name, shape in (QUICK_MAPS if place.quick else MAPS).items():
        tail = tail_candidates(shape, BlockSpec("se"), (backend,), place.settings("training")).functions[f"se {backend}"]

        def steps(tail: Any = tail) -> None:
            for _ in range(STEPS):
                tail()

        yield f"warps, {name}", by_choice(steps, place, (*KERNELS, *PASSES))
        place.free()
    step: Any = ENGINES["fused"].build(training_work(place, "preresnet20", 128), "se")
    yield "warps, preresnet20", by_choice(replace(step, tails=backend), place, (*KERNELS, *OF_PAIRS, *PASSES, *PASSES_OF_PAIRS))


def by_choice(steps: Any, place: Place, wanted: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return the milliseconds of the wanted kernels by the warps of those over vectors; None for what was not launched."""
    found = {}
    for warps in CHOICES:
        with programs_of(warps):
            kernels = {row["kernel"]: row["milliseconds"] for row in by_kernel(steps, place, shown=None)["kernels"]}
        found[str(warps)] = {kernel: kernels.get(kernel) for kernel in wanted}
    return found


@contextmanager
def programs_of(warps: int) -> Iterator[None]:
    """Give the programs of these kernels so many warps inside a `with` block."""
    before = launch.start

    def start(kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, Any]) -> None:
        before(kernel, programs, arguments, sizes | {"num_warps": warps} if kernel.__name__ in (*KERNELS, *OF_PAIRS) else sizes)

    launch.start = start  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        launch.start = before
