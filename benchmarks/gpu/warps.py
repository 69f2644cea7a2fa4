"""Kernels over vectors by how many warps their programs have: what each, and each pass over maps, takes of a tail with SE on the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.gpu.place import Found, Place
from benchmarks.gpu.tails import MAPS, QUICK_MAPS
from benchmarks.gpu.training import by_kernel
from benchmarks.tails import tail_candidates
from senet.ops.passes.triton import launch
from senet.spec import BlockSpec

KERNELS = ("statistics", "gate", "gate_gradient", "squeeze_gradient", "norm_gradient")
PASSES = ("moments", "reduce", "affine")
WARPS = (16, 8, 4)
"""The first is what tails launch."""
STEPS = 8


def by_warps(place: Place) -> Iterator[Found]:
    """Yield for each map the milliseconds of each kernel in eight tails, forward and backward, by the warps of a program."""
    for name, shape in (QUICK_MAPS if place.quick else MAPS).items():
        backend = "triton" if place.on_cuda else "reference"
        step = tail_candidates(shape, BlockSpec("se"), (backend,), place.settings("training")).functions[f"se {backend}"]

        def steps(step: Any = step) -> None:
            for _ in range(STEPS):
                step()

        found = {}
        for warps in WARPS:
            with programs_of(warps):
                kernels = {row["kernel"]: row["milliseconds"] for row in by_kernel(steps, place)["kernels"]}
            found[str(warps)] = {kernel: kernels.get(kernel) for kernel in (*KERNELS, *PASSES)}
        yield f"warps, {name}", found
        place.free()


@contextmanager
def programs_of(warps: int) -> Iterator[None]:
    """Give the programs of these kernels so many warps inside a `with` block."""
    before = launch.start

    def start(kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, Any]) -> None:
        before(kernel, programs, arguments, sizes | {"num_warps": warps} if kernel.__name__ in KERNELS else sizes)

    launch.start = start  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        launch.start = before
