"""Forward passes of ResNet-50 by form and batch."""

from collections.abc import Iterator

from benchmarks.gpu.functions import compared
from benchmarks.gpu.place import Found, Place
from benchmarks.registry import THEIRS
from senet.benchmarking.workload import workload

ROWS = ("eager", "eager graph", "compiled", "optimised", "optimised graph", "optimised-compiled")
BATCHES = {256: ROWS, 1: ROWS, 16: ("eager", "optimised", "optimised-compiled")}
"""Images in a batch -> the rows of both forms."""


def forward_passes(place: Place) -> Iterator[Found]:
    """Yield one table a batch size."""
    for batch, rows in BATCHES.items():
        settings = place.settings("inference", "fp32" if place.quick and not place.on_cuda else "bf16")
        network, options = ("cifar_resnet20", {}) if place.quick else ("resnet50", THEIRS)
        work = workload(network, settings, place.folder, batch=min(batch, 2) if place.quick else batch, **options)
        named = [f"{form} {row}" for row in rows for form in ("plain", "se") if not (place.quick and "compiled" in row)]
        yield f"batch {batch}", compared(place, work, [*named, *(() if place.quick or batch == 16 else ("se timm compiled",))])
        del work
        place.free()
