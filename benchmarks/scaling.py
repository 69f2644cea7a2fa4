"""Time training by one process, and by several that share each batch: `python -m benchmarks.scaling`; `--device cuda` where there are GPUs.

It runs `senet train` itself, with and without `--devices`, on scikit-learn's digits, and takes the images a second that the run's table of
metrics tells, of the epochs after the first. Processes on a CPU have one thread each.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.run import COMMITTED, RESULTS, result_path
from senet.atomic import write_text
from senet.measuring.machine import bench_environment

NETWORK = "se_preresnet20"
EPOCHS = 2
"""Of a run; the first counts for nothing: processes fill their caches."""
STEPS = 40
"""Of an epoch, through which the images come again: what an epoch begins and ends with has little weight then, as in long ones."""


def images_a_second(processes: int, batch: int, device: str, folder: Path) -> float:
    """Return how many images a second a new run trains on: the median over its epochs but the first.

    Raises:
        RuntimeError: the run failed; with what it said.
    """
    words = ["train", "digits", "--model.name", NETWORK, "--data.batch_size", str(batch), "--data.workers", "0", "--epochs", str(EPOCHS)]
    words += ["--min_steps", str(STEPS)]
    words += ["--folder", str(folder), *(["--devices", str(processes)] if processes > 1 else [])]
    variables = {"OMP_NUM_THREADS": "1"} | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})
    command = [sys.executable, "-m", "senet", *words]
    ended = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"senet {' '.join(words)}: {ended.stderr}")
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def measured(processes: Sequence[int], batch: int, device: str, rounds: int) -> dict[str, list[float]]:
    """Return the images a second of each round by the number of processes; numbers take turns, forwards and backwards."""
    found: dict[str, list[float]] = {str(count): [] for count in processes}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            for count in processes[:: -1 if number % 2 else 1]:
                folder = Path(scratch) / f"{count}-{number}"
                found[str(count)].append(images_a_second(count, batch, device, folder))
    return found


def efficiencies(rates: dict[str, list[float]]) -> dict[str, float]:
    """Return which share of so many times the rate of one process several reach: the median over rounds."""
    alone = rates["1"]
    return {count: median(rate / (int(count) * one) for rate, one in zip(found, alone, strict=True)) for count, found in rates.items()}


def main(argv: list[str] | None = None) -> int:
    """Time and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--processes", default="1,2", help="numbers of processes; 1 is always among them; default: %(default)s")
    parser.add_argument("--batches", default="256", help="images of a step over all processes; default: %(default)s")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    processes = sorted({1, *(int(word) for word in args.processes.split(","))})
    facts: dict[str, Any] = bench_environment(args.device, packages=("lightning-fabric",), sources=COMMITTED) | {"threads": 1}
    rates = {batch: measured(processes, int(batch), args.device, args.rounds) for batch in args.batches.split(",")}
    found = {batch: efficiencies(by_count) for batch, by_count in rates.items()}
    about = f"senet train digits, {NETWORK}: images a second by processes, one thread each on a CPU; batches are shared by the processes"
    tree = {"benchmark": "scaling", **facts, "about": about, "processors": os.cpu_count(), "images_a_second": rates, "efficiency": found}
    write_text(result_path(args.out, "scaling", facts), json.dumps(tree, indent=2) + "\n")
    table = Table("images of a step", *(f"{count} processes" for count in processes[1:]), box=None)
    for batch, by_count in found.items():
        table.add_row(batch, *(f"{by_count[str(count)]:.2f}" for count in processes[1:]))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
