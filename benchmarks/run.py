"""Time what the registry holds and write what was found: `python -m benchmarks.run [NAME ...]`."""

import argparse
import json
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.registry import REGISTRY, Benchmark
from senet.atomic import write_text
from senet.cli.doctor import processor
from senet.timing import interleave, ratio

HERE = Path(__file__).parent


def measure(benchmark: Benchmark, *, rounds: int, max_seconds: float) -> dict[str, Any]:
    """Return timings in seconds, and ratios to the first function."""
    with benchmark.prepare() as functions:
        timings = interleave(functions, rounds=rounds, max_seconds=max_seconds)
    base = next(iter(timings))
    return {
        "about": benchmark.about,
        "base": base,
        "limit": benchmark.limit,
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "ratios": {name: ratio(timing, timings[base]).to_dict() for name, timing in timings.items() if name != base},
    }


def circumstances() -> dict[str, Any]:
    """Return what a number is worth nothing without: device, versions, commit, date."""
    commit = _git("rev-parse", "HEAD")
    return {
        "device": processor(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "senet")}},
        "commit": f"{commit}, modified" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else commit,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table(name: str, found: dict[str, Any]) -> Table:
    """Return one line a function."""
    shown = Table("", "ms", "quartiles", "CPU ms", "ratio", "quartiles", "CPU ratio", title=f"{name}: {found['about']}", box=None)
    for function, timing in found["timings"].items():
        times = [f"{timing['median'] * 1e3:.2f}", f"{timing['low'] * 1e3:.2f}-{timing['high'] * 1e3:.2f}", f"{timing['cpu'] * 1e3:.2f}"]
        ratios = found["ratios"].get(function)
        cells = [] if ratios is None else [f"{ratios['median']:.3f}", f"{ratios['low']:.3f}-{ratios['high']:.3f}", f"{ratios['cpu']:.3f}"]
        shown.add_row(function, *times, *cells)
    return shown


def main(argv: list[str] | None = None) -> int:
    """Run benchmarks; exit with 1 if one breaks its promise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(REGISTRY)}")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--max-seconds", type=float, default=120.0, help="no new round begins after so long, for each benchmark")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the JSON files")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in REGISTRY]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(REGISTRY)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    kept = True
    for name in args.names or REGISTRY:
        torch.manual_seed(0)
        found = circumstances() | measure(REGISTRY[name], rounds=args.rounds, max_seconds=args.max_seconds)
        kept &= all(ratios["cpu"] <= (found["limit"] or float("inf")) for ratios in found["ratios"].values())
        place = re.sub(r"\W+", "-", f"{found['device']} {found['threads']} threads").strip("-").lower()
        write_text(args.out / f"{name}.{place}.json", json.dumps({"benchmark": name} | found, indent=2) + "\n")
        Console().print(table(name, found))
    return 0 if kept else 1


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("" if done.returncode == 0 else "unknown")


if __name__ == "__main__":
    sys.exit(main())
