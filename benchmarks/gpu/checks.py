"""The tests that need a GPU."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.place import Found, Place

ROOT = Path(__file__).parents[2]
PROCESSES = min(16, os.cpu_count() or 1)
SECONDS = 100.0
"""After which the tests are ended; what has passed and failed by then is told from their lines."""
LINE = re.compile(r"(?P<verdict>PASSED|FAILED|ERROR|SKIPPED) (?P<test>tests/\S+)")


def tests(place: Place) -> Iterator[Found]:
    """Yield how many tests passed, and what each failure says."""
    report = place.folder / "tests.xml"
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8"))
    spread = ["-n", str(PROCESSES)] if place.on_cuda else ["-p", "no:xdist", "--collect-only"]
    words = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", *spread, f"--junitxml={report}", *files]
    log, code = place.folder / "tests.log", None
    with log.open("w") as output, suppress(subprocess.TimeoutExpired):
        limit = SECONDS if place.on_cuda else None
        code = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=limit, check=False).returncode
    said = log.read_text(encoding="utf-8", errors="replace")
    counts = summary(report) if report.is_file() else told(said)
    yield "tests", {"exit_code": code, "files": len(files), **counts, "end": said[-1500:]}


def told(text: str) -> dict[str, object]:
    """Return the counts and failures that the lines of tests tell, where the tests did not come to their end."""
    verdicts = {found["test"]: found["verdict"] for found in LINE.finditer(text)}
    names = {"failures": "FAILED", "errors": "ERROR", "skipped": "SKIPPED"}
    counts = {name: list(verdicts.values()).count(verdict) for name, verdict in names.items()}
    return {
        "tests": len(verdicts),
        **counts,
        "failed": {test: verdict for test, verdict in verdicts.items() if verdict in ("FAILED", "ERROR")},
    }


def summary(report: Path) -> dict[str, object]:
    """Return the counts and failures of a JUnit file."""
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    failures = {}
    for case in suite.iter("testcase"):
        for trouble in (*case.findall("failure"), *case.findall("error")):
            failures[f"{case.get('classname')}::{case.get('name')}"] = (trouble.get("message") or "")[:500]
    counts = {name: int(suite.get(name) or 0) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, "failed": failures}
