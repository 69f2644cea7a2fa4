"""Time what the registry holds and write what was found: `python -m benchmarks.run [NAME ...]`."""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.registry import REGISTRY, Benchmark
from senet.atomic import write_text
from senet.benchmarking.result import Comparison
from senet.benchmarking.run import Status, measure
from senet.benchmarking.settings import Settings
from senet.measuring.machine import PACKAGE, bench_environment

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COMMITTED = (PACKAGE, HERE / "*.py")
"""What must be as committed for a result to be that of the commit."""


def measured(benchmark: Benchmark, settings: Settings, status: Status) -> Comparison:
    """Prepare a benchmark and time it."""
    status(f"{benchmark.about}: preparing")
    with benchmark.prepare() as candidates:
        return replace(measure(candidates, benchmark.about, settings, status=status), limit=benchmark.limit)


def result_path(folder: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """Return where a result goes: its name says the machine, so that those of several stand side by side."""
    place = re.sub(r"\W+", "-", f"{facts['device']} {facts['threads']} threads").strip("-").lower()
    return folder / f"{name}.{place}.json"


def main(argv: list[str] | None = None) -> int:
    """Run benchmarks; exit with 1 if one breaks its promise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(REGISTRY)}")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--max-seconds", type=float, default=120.0, help="no new round begins after so long, for each benchmark")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in REGISTRY]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(REGISTRY)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    settings, kept = Settings(rounds=args.rounds, max_seconds=args.max_seconds), True
    for name in args.names or REGISTRY:
        torch.manual_seed(0)
        benchmark = REGISTRY[name]
        facts = bench_environment(packages=benchmark.packages, sources=COMMITTED)
        with Console(stderr=True).status(name) as status:
            found = measured(benchmark, settings, status.update)
        if found.interrupted:  # what is short of its rounds is shown, but does not replace a result
            Console().print(found.table())
            return 130
        kept &= found.within_limit()
        write_text(result_path(args.out, name, facts), json.dumps({"benchmark": name, **facts, **found.to_dict()}, indent=2) + "\n")
        Console().print(found.table())
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
