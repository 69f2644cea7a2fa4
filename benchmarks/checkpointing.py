"""Time what a checkpoint costs the steps around it: `python -m benchmarks.checkpointing`.

Steps of a network are taken in blocks: without a checkpoint, with one that is waited for, and with one that is written beside them. A
block begins with its save, and its steps go on beside the writing; the rest of the writing, for which a run waits only at its next save, is
not of the block. What a step waits is the beginning of the save, and what is left to be copied when it is about to change the weights.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet import create_model
from senet.atomic import write_text
from senet.data.loaders import CorruptLog
from senet.measuring.device import synchronize
from senet.measuring.machine import bench_environment
from senet.measuring.steps import TrainingStep, cross_entropy_of
from senet.recipe import ScheduleRecipe
from senet.results.run_folder import RunFolder
from senet.training.schedule import Schedule
from senet.training.state import TrainingState

WAYS = ("none", "waited for", "beside")


@dataclass(frozen=True)
class Subject:
    """Network, the size of its batch, the steps of a block, and the images of an epoch, after which a run saves by default."""

    name: str
    size: tuple[int, int, int, int]
    steps: int
    epoch: int


CIFAR10, IMAGENET = 50_000, 1_281_167
SUBJECTS = {
    "cpu": (Subject("se_cifar_resnet20", (128, 3, 32, 32), 4, CIFAR10), Subject("se_resnet50", (2, 3, 224, 224), 2, IMAGENET)),
    "cuda": (Subject("se_cifar_resnet20", (128, 3, 32, 32), 64, CIFAR10), Subject("se_resnet50", (128, 3, 224, 224), 16, IMAGENET)),
}
"""Kind of device -> what is measured there."""


@dataclass
class Run:
    """Run that is measured.

    Args:
        state: what it saves.
        folder: where to.
        step: takes a step.
        settled: seconds that steps have waited before they changed weights.
    """

    state: TrainingState
    folder: RunFolder
    step: Callable[[], None]
    settled: float = 0.0

    def settle(self, *of_the_step: Any) -> None:
        """Wait as a step of training does."""
        began = perf_counter()
        self.state.writer.settle()
        self.settled += perf_counter() - began


@contextmanager
def begun(subject: Subject, device: torch.device, place: Path | None) -> Iterator[Run]:
    """Yield a run that has taken a step, so that momentum is there, and saved, so that the memory of the copy is."""
    model = create_model(subject.name).train().to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    optimizer = torch.optim.SGD(model.parameters(), 0.0, 0.9)  # weights stay: noise learnt by heart leaves denormal gradients, slow on CPUs
    schedule = Schedule(ScheduleRecipe(), 0.0, steps_per_epoch=1, epochs=1)
    state = TrainingState(Fabric(accelerator=device.type, devices=1), model, optimizer, schedule, None, CorruptLog(0, 1))
    images = torch.randn(subject.size, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(len(images), dtype=torch.long, device=device)
    with TemporaryDirectory(dir=place) as folder, state.writer:
        run = Run(state, RunFolder(Path(folder)), TrainingStep(model, (images,), cross_entropy_of(labels), optimizer=optimizer))
        optimizer.register_step_pre_hook(run.settle)
        (run.folder.path / "recipe.yaml").touch()  # it has begun
        run.step()
        state.save(run.folder)
        yield run


def block(way: str, run: Run, subject: Subject, device: torch.device) -> dict[str, float]:
    """Return the seconds that are waited for a save, and all of it and of so many steps behind it."""
    synchronize(device)
    run.settled, began = 0.0, perf_counter()
    if way == "waited for":
        run.state.save(run.folder)
    elif way == "beside":
        run.state.begin_save(run.folder)
    saved = perf_counter()
    for _ in range(subject.steps):
        run.step()
    synchronize(device)
    ended = perf_counter()
    run.state.writer.finish()
    return {"waits": saved - began + run.settled, "all": ended - began}


def measured(subject: Subject, rounds: int, device: torch.device, place: Path | None = None) -> dict[str, Any]:
    """Return what saves cost, in milliseconds and as shares, ready for JSON."""
    times: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with begun(subject, device, place) as run:
        for number in range(rounds):
            for way in WAYS if number % 2 else reversed(WAYS):
                times[way].append(block(way, run, subject, device))
        size = run.folder.checkpoint.stat().st_size
    step_ms = 1e3 * median(found["all"] for found in times["none"]) / subject.steps
    interval_ms = step_ms * subject.epoch / subject.size[0]
    costs = {way: cost(found, times["none"], step_ms, interval_ms) for way, found in times.items() if way != "none"}
    about = {"batch": list(subject.size), "images_between_saves": subject.epoch, "megabytes": size / 1e6, "rounds": rounds}
    return about | {"step_ms": step_ms, "interval_ms": interval_ms, "saves": costs, "times": times}


def cost(found: list[dict[str, float]], without: list[dict[str, float]], step_ms: float, interval_ms: float) -> dict[str, float]:
    """Return medians over rounds of what is waited for a save, and of what a block takes longer in all, with their shares."""
    waits = median(1e3 * one["waits"] for one in found)
    extra = median(1e3 * (one["all"] - other["all"]) for one, other in zip(found, without, strict=True))
    return {
        "waits_ms": waits,
        "waits_of_a_step": waits / step_ms,
        "extra_ms": extra,
        "extra_of_the_interval": extra / interval_ms,
    }


def table(found: Mapping[str, Any]) -> Table:
    """Return the figures as lines."""
    lines = Table(box=None, pad_edge=False)
    for heading in ("", "MB", "step, ms", "a step waits, ms", "of it", "all it costs, ms", "of an epoch"):
        lines.add_column(heading, justify="right" if heading else "left")
    for name, one in found["networks"].items():
        for way, costs in one["saves"].items():
            times = (f"{value:,.1f}" for value in (one["megabytes"], one["step_ms"], costs["waits_ms"]))
            extra = f"{costs['extra_ms']:,.1f}", f"{costs['extra_of_the_interval']:.4%}"
            lines.add_row(f"{name}, {way}", *times, f"{costs['waits_of_a_step']:.2%}", *extra)
    return lines


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpointing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--place", type=Path, help="folder on the disk that is written to; default: the system's for temporary files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    facts = bench_environment(args.device, sources=COMMITTED)
    device = torch.device(args.device)
    networks = {one.name: measured(one, args.rounds, device, args.place) for one in SUBJECTS[args.device]}
    found = {"benchmark": "checkpointing", **facts, "networks": networks}
    write_text(result_path(args.out, "checkpointing", facts), json.dumps(found, indent=2) + "\n")
    Console().print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
