"""Training steps of networks, and a profile of one by kernel."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.functions import MODIFIERS, compared, tables
from benchmarks.gpu.place import Found, Place
from benchmarks.registry import THEIRS
from senet.benchmarking.engines import ENGINES, torch_step
from senet.benchmarking.run import Candidates
from senet.benchmarking.workload import Workload, prepared, workload

STEPS = ("plain eager", "plain fused", "se eager", "se fused", "se timm")
GRAPHS = ("plain eager graph", "plain fused graph", "se eager graph", "se fused graph", "se timm graph")
COMPILED = ("plain compiled", "se compiled-fused")
COMPILED_TOO = ("plain compiled-fused", "se timm compiled")
COOPERATIVE = ("plain compiled", "se compiled-fused")

NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "preresnet20": (128, {}),
    "preresnet110": (128, {}),
    "wrn16_8": (128, {}),
    "resnext50_32x4d": (128, {"stem_pool": "pad"}),
    "resnet152": (128, THEIRS),
}
"""Network -> images in a batch, and its options."""
NETWORK_ROWS = ("plain eager", "plain fused", "se eager", "se fused", "plain eager graph", "plain fused graph", "se fused graph")
PROFILED = ("preresnet20",)
"""Networks of whose steps is told what each kernel takes, as a graph has them."""
PEERS = {"regnetx_016": "regnety_016"}
"""Networks of timm without and with SE that are alike but for it."""
SHOWN = 40
"""Kernels of a profile."""


def training_work(place: Place, network: str, batch: int, **options: Any) -> Workload:
    """Build a network, its twin and a batch; quick ones are those of CIFAR."""
    settings = place.settings("training", "fp32" if place.quick and not place.on_cuda else "bf16")
    if place.quick:
        network, batch, options = "cifar_resnet20", 4, {}
    return workload(network, settings, place.folder, batch=batch, **options)


def resnet50_tables(place: Place, key: str, *groups: Sequence[str]) -> Iterator[Found]:
    """Yield the table of steps of ResNet-50 at 256 images, group of rows by group."""
    wanted = [[row for row in rows if not (place.quick and ("timm" in row or "compiled" in row))] for rows in groups]
    yield from tables(place, key, training_work(place, "resnet50", 256, **THEIRS), [rows for rows in wanted if rows])
    place.free()


def steps(place: Place) -> Iterator[Found]:
    """Yield the table of training steps, then what one consists of before and after."""
    yield from resnet50_tables(place, "resnet50", STEPS, GRAPHS)
    work = training_work(place, "resnet50", 256, **THEIRS)
    for name, form, engine in (("after", "se", "fused"), ("plain after", "plain", "fused"), ("before", "se", "eager")):
        yield f"profile {name}", by_kernel(ENGINES[engine].build(work, form), place)


def compiled_steps(place: Place) -> Iterator[Found]:
    """Yield the table of compiled steps, beside one that is not."""
    yield from resnet50_tables(place, "resnet50 compiled", ("plain eager", *COMPILED), COMPILED_TOO)


def cooperative(place: Place) -> Iterator[Found]:
    """Yield compiled steps with Inductor's cooperative reductions, which are chosen before torch is loaded."""
    assert os.environ.get("TORCHINDUCTOR_COOPERATIVE_REDUCTIONS") == "1"
    yield from resnet50_tables(place, "resnet50 cooperative", ("plain eager", *COOPERATIVE))


def networks(place: Place) -> Iterator[Found]:
    """Yield training steps of other networks, eager and as graphs, and of timm's; and what those consist of whose kernels are small."""
    for name, (batch, options) in (NETWORKS if not place.quick else dict(list(NETWORKS.items())[:1])).items():
        work = training_work(place, name, batch, **options)
        yield name, compared(place, work, NETWORK_ROWS)
        for form in ("plain", "se") if name in PROFILED else ():
            step: Any = ENGINES["fused"].build(work, form)
            yield f"profile {name} {form}", by_kernel(replace(step, tails="triton" if place.on_cuda else step.tails), place)
        place.free()
    yield from () if place.quick else peers(place)


def peers(place: Place) -> Iterator[Found]:
    """Yield steps of timm's networks beside each other, on the images of ResNet-50."""
    import timm

    work = training_work(place, "resnet50", 128, **THEIRS)
    for plain, recalibrated in PEERS.items():
        functions = {}
        for name in (plain, recalibrated):
            step = torch_step(work, prepared(timm.create_model(name), work.settings))
            functions |= {f"{name} {modifier}".strip(): MODIFIERS[modifier](step) for modifier in ("", "graph")}  # pyright: ignore
        yield f"timm {plain}", place.measured(Candidates(functions), f"timm {plain} against {recalibrated}", "training").to_dict()


def by_kernel(step: Any, place: Place, shown: int | None = SHOWN) -> dict[str, Any]:
    """Return the milliseconds and launches of one step by kernel (on a CPU, by operation), the largest first, and so many of them."""
    for _ in range(2):
        step()
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if place.on_cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as seen:
        step()
    found: dict[str, tuple[float, int]] = {}
    for event in seen.key_averages():
        used: Any = event
        if place.on_cuda and used.device_type.name != "CUDA":
            continue
        time = (used.self_device_time_total if place.on_cuda else used.self_cpu_time_total) / 1000
        if time:
            found[event.key[:160]] = (time, event.count)
    largest = sorted(found.items(), key=lambda item: -item[1][0])
    return {
        "milliseconds": sum(time for time, _ in found.values()),
        "launches": sum(count for _, count in found.values()),
        "kernels": [{"kernel": name, "milliseconds": time, "launches": count} for name, (time, count) in largest[:shown]],
    }
