"""The JSON file of a device, and what is printed of it."""

import json
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.gpu.targets import verdicts
from benchmarks.run import COMMITTED, HERE
from senet.atomic import write_text
from senet.measuring.machine import bench_environment

PACKAGES = ("triton", "timm", "torchvision", "lightning-fabric")


def write(args: Namespace, measures: Mapping[str, Any], ends: Mapping[str, Any]) -> Path:
    """Write what there is so far, and return where; what is not measured anew stays if it is of this commit and these versions."""
    facts = bench_environment(args.device, PACKAGES, (*COMMITTED, HERE / "gpu"))
    path = args.out / file_name(facts, quick=args.quick)
    if (kept := _measured_before(path, facts)) is not None:
        measures, ends = kept["measures"] | measures, kept["parts"] | ends
    tree = {"benchmark": "gpu", **facts, "quick": args.quick, "parts": ends, "measures": measures, "targets": verdicts(measures)}
    write_text(path, json.dumps(tree, indent=1) + "\n")
    return path


def file_name(facts: Mapping[str, Any], *, quick: bool) -> str:
    """Return the file of a device and a commit: what one commit measured is not lost when another one measures something else."""
    device = re.sub(r"\W+", "-", facts["device"]).strip("-").lower()
    commit, _, state = (facts["commit"] or "unknown").partition(", ")
    return ".".join(["gpu", *(["quick"] if quick else []), device, "-".join(filter(None, (commit[:7], state))), "json"])


def _measured_before(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an earlier result of the same code on the same machine, if there is one."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    same = all(found.get(name) == value for name, value in facts.items() if name != "date")
    return found if same and facts["commit"] and "modified" not in facts["commit"] else None


def show(tree: Mapping[str, Any]) -> int:
    """Print the verdicts, and which parts did not come to their end; return 1 if any promise or part failed."""
    table = Table("", "before", "target", "found", "", box=None, pad_edge=False)
    for verdict in tree["targets"]:
        numbers = ["-" if verdict[name] is None else f"{verdict[name]:.4g}" for name in ("before", "limit", "value")]
        words = {True: "", False: "MISSED", None: "not measured"}[verdict["kept"]]
        table.add_row(Text(f"{verdict['about']}{verdict['unit'] and ', ' + verdict['unit']}"), *numbers, words)
    console = Console(width=160)
    console.print(table)
    ended = True
    for letter, end in tree["parts"].items():
        if end["exit_code"] != 0:
            ended = False
            console.print(
                Text(f"part {letter} was {'ended' if end['exit_code'] is None else 'left'} after {end['seconds']} s: {end['said'][-300:]}")
            )
    tests = tree["measures"].get("tests", {})
    for name, said in tests.get("failed", {}).items():
        console.print(Text(f"{name}: {said[:200]}"))
    kept = all(verdict["kept"] for verdict in tree["targets"]) and not tests.get("failed")
    return 0 if tree["quick"] and ended else int(not (kept and ended))
