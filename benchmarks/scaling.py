"""Time training by one process, and by several that share each batch: `python -m benchmarks.scaling`; `--device cuda` where there are GPUs.

It runs `senet train` itself, with and without `--devices`, on scikit-learn's digits, and takes the images a second that the run's table of
metrics tells, of the epochs between the first and the last. Processes on a CPU have one thread each.

What several reach of so many times the rate of one is the product of three shares, each measured: that of one process with its part of the
batch, of several such that share nothing but the machine, and of several that train as one.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.measuring.machine import bench_environment

NETWORK = "se_preresnet20"
EPOCHS = 4
"""Of a run; the first and the last count for nothing: processes fill their caches, and some are done before others."""
STEPS = 40
"""Of an epoch, through which the images come again: what an epoch begins and ends with has little weight then, as in long ones."""

SHARES = {
    "efficiency": "of so many times the rate of one",
    "batch": "one with its part of the batch, of one with all of it",
    "machine": "so many of these side by side, of so many times one",
    "together": "all as one, of these side by side",
}
"""What is told of several processes -> what it is; the first is the product of the others."""


@dataclass(frozen=True)
class Load:
    """What trains at the same time.

    Args:
        runs: how many runs, that have nothing to do with each other.
        processes: those of each.
        batch: images of a step over all processes of a run.
    """

    runs: int
    processes: int
    batch: int

    def images_a_second(self, device: str, folder: Path) -> float:
        """Return how many images a second new runs train on, all together.

        Raises:
            RuntimeError: a run failed; with what it said.
        """
        folders = [folder / str(number) for number in range(self.runs)]
        begun = [self._begin(device, path) for path in folders]
        said = [run.communicate()[1] for run in begun]
        for run, errors in zip(begun, said, strict=True):
            if run.returncode:
                raise RuntimeError(f"{self}: {errors}")
        return sum(map(_rate, folders))

    def _begin(self, device: str, folder: Path) -> "subprocess.Popen[str]":
        words = ["train", "digits", "--model.name", NETWORK, "--data.batch_size", str(self.batch), "--data.workers", "0"]
        words += ["--epochs", str(EPOCHS), "--min_steps", str(STEPS), "--folder", str(folder)]
        words += ["--devices", str(self.processes)] if self.processes > 1 else []
        variables = {"OMP_NUM_THREADS": "1"} | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})
        command = [sys.executable, "-m", "senet", *words]
        return subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _rate(folder: Path) -> float:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:-1])


def loads(count: int, batch: int) -> dict[str, Load]:
    """Return what is compared for so many processes, each step of which differs from the one before in one thing."""
    return {
        "alone": Load(1, 1, batch),
        "batch": Load(1, 1, batch // count),
        "machine": Load(count, 1, batch // count),
        "together": Load(1, count, batch),
    }


def measured(count: int, batch: int, device: str, rounds: int) -> dict[str, list[float]]:
    """Return the images a second of each round by the name of the load; loads take turns, forwards and backwards."""
    compared = loads(count, batch)
    found: dict[str, list[float]] = {name: [] for name in compared}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            for name in list(compared)[:: -1 if number % 2 else 1]:
                found[name].append(compared[name].images_a_second(device, Path(scratch) / f"{name}-{number}"))
    return found


def shares(rates: dict[str, list[float]], count: int) -> dict[str, float]:
    """Return the shares of `SHARES` that so many processes reach: medians over rounds."""
    of = {
        "efficiency": lambda rate: rate["together"] / (count * rate["alone"]),
        "batch": lambda rate: rate["batch"] / rate["alone"],
        "machine": lambda rate: rate["machine"] / (count * rate["batch"]),
        "together": lambda rate: rate["together"] / rate["machine"],
    }
    found = [dict(zip(rates, values, strict=True)) for values in zip(*rates.values(), strict=True)]
    return {name: median(map(of[name], found)) for name in SHARES}


def main(argv: list[str] | None = None) -> int:
    """Time and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--processes", default="2", help="numbers of processes, each against one; default: %(default)s")
    parser.add_argument("--batches", default="256", help="images of a step over all processes; default: %(default)s")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    facts: dict[str, Any] = bench_environment(args.device, packages=("lightning-fabric",), sources=COMMITTED) | {"threads": 1}
    cases = [(batch, count) for batch in args.batches.split(",") for count in args.processes.split(",")]
    rates = {f"{batch} by {count}": measured(int(count), int(batch), args.device, args.rounds) for batch, count in cases}
    found = {case: shares(by_load, int(case.split()[-1])) for case, by_load in rates.items()}
    about = f"senet train digits, {NETWORK}: images a second, processes of one thread each on a CPU; batches are shared by the processes"
    tree = {"benchmark": "scaling", **facts, "about": about, "processors": os.cpu_count(), "images_a_second": rates, "shares": found}
    write_text(result_path(args.out, "scaling", facts), json.dumps(tree, indent=2) + "\n")
    table = Table("images of a step by processes", *SHARES.values(), box=None)
    for case, values in found.items():
        table.add_row(case, *(f"{value:.2f}" for value in values.values()))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
