"""The tests that need a GPU."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.place import Found, Place
from benchmarks.gpu.processes import without_places

ROOT = Path(__file__).parents[2]
PROCESSES = min(16, os.cpu_count() or 1)
SECONDS = 235.0
"""After which the tests are ended; what has passed and failed by then counts. An H100's machine came to 44 % of them in 100 s."""


def tests(place: Place) -> Iterator[Found]:
    """Yield which tests passed, and what each failure says; those that no committed result tells as passed come first."""
    outcomes, passed, log = (place.folder / name for name in ("outcomes.jsonl", "passed.json", "tests.log"))
    passed.write_text(json.dumps(passed_before(ROOT / "benchmarks" / "results")), encoding="utf-8")
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8"))
    spread = ["-n", str(PROCESSES)] if place.on_cuda else ["-p", "no:xdist", "--collect-only"]
    plugin = ["-p", "benchmarks.gpu.outcomes", f"--outcomes={outcomes}", f"--passed={passed}"]
    code = None
    with log.open("w") as output, suppress(subprocess.TimeoutExpired):
        limit = SECONDS if place.on_cuda else None
        words = [sys.executable, "-m", "pytest", *plugin, "-m", "gpu", *spread, *files]
        code = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=limit, check=False).returncode
    end = without_places(log.read_text(encoding="utf-8", errors="replace"))[-1500:]
    counts = summary(outcomes.read_text(encoding="utf-8") if outcomes.is_file() else "")
    yield "tests", {"exit_code": code, "files": len(files), **counts, "end": end}


def passed_before(results: Path) -> list[str]:
    """Return the tests that committed results tell as passed, on any device."""
    found: set[str] = set()
    for file in results.glob("gpu.*.json"):
        measures = json.loads(file.read_text(encoding="utf-8")).get("measures", {})
        found.update(measures.get("tests", {}).get("passed", ()))
    return sorted(found)


def summary(lines: str) -> dict[str, Any]:
    """Return how many tests came to an end, which passed, and what the failures say, from the lines of `benchmarks.gpu.outcomes`."""
    ended = {line["test"]: line for line in map(json.loads, lines.splitlines())}  # a second line of a test tells that it failed after all
    failed = {test: without_places(line["said"]) for test, line in ended.items() if line["outcome"] == "failed"}
    passed = [test for test, line in ended.items() if line["outcome"] == "passed"]
    counts = {"tests": len(ended), "failures": len(failed), "skipped": len(ended) - len(failed) - len(passed)}
    return {**counts, "failed": failed, "passed": sorted(passed)}
