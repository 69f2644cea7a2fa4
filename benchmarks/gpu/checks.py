"""The tests that need a GPU."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.place import Found, Place

ROOT = Path(__file__).parents[2]
PROCESSES = 4


def tests(place: Place) -> Iterator[Found]:
    """Yield how many tests passed, and what each failure says."""
    report = place.folder / "tests.xml"
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8"))
    spread = ["-n", str(PROCESSES)] if place.on_cuda else ["-p", "no:xdist", "--collect-only"]
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *spread, f"--junitxml={report}", *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    yield (
        "tests",
        {"exit_code": done.returncode, "files": len(files), **(summary(report) if report.is_file() else {}), "end": done.stdout[-1500:]},
    )


def summary(report: Path) -> dict[str, object]:
    """Return the counts and failures of a JUnit file."""
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    failures = {}
    for case in suite.iter("testcase"):
        for trouble in (*case.findall("failure"), *case.findall("error")):
            failures[f"{case.get('classname')}::{case.get('name')}"] = (trouble.get("message") or "")[:500]
    counts = {name: int(suite.get(name) or 0) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, "failed": failures}
