"""Forward passes of ResNet-50 by form and batch."""

from collections.abc import Iterator

from benchmarks.gpu.functions import tables
from benchmarks.gpu.place import Found, Place
from benchmarks.registry import THEIRS
from senet.benchmarking.workload import Workload, workload

LAUNCHED = ("eager", "eager graph", "optimised", "optimised graph")
COMPILED = ("optimised-compiled", "compiled")
BATCHES = (256, 1)
"""Images in a batch."""
FEW = 16
"""Images in a batch of which fewer rows are wanted."""


def forward_passes(place: Place) -> Iterator[Found]:
    """Yield the tables by what needs no compiler, then with what does."""
    for batch in BATCHES:
        yield from table(place, batch, LAUNCHED)
    for batch in BATCHES:
        yield from table(place, batch, LAUNCHED, COMPILED)
    yield from table(place, FEW, ("eager", "optimised"), ("optimised-compiled",))


def table(place: Place, batch: int, *groups: tuple[str, ...]) -> Iterator[Found]:
    """Yield a table of one batch size, group of rows by group."""
    named = [[f"{form} {row}" for row in rows for form in ("plain", "se")] for rows in groups]
    if batch != FEW and len(named) > 1:
        named[-1].append("se timm compiled")
    wanted = [[row for row in rows if not (place.quick and "compiled" in row)] for rows in named]
    yield from tables(place, f"batch {batch}", inference_work(place, batch), [rows for rows in wanted if rows])
    place.free()


def inference_work(place: Place, batch: int) -> Workload:
    """Build a network, its twin and a batch; quick ones are those of CIFAR."""
    settings = place.settings("inference", "fp32" if place.quick and not place.on_cuda else "bf16")
    network, options = ("cifar_resnet20", {}) if place.quick else ("resnet50", THEIRS)
    return workload(network, settings, place.folder, batch=min(batch, 2) if place.quick else batch, **options)
