"""Plugin of pytest for tests on a device: each outcome is written when it is known, and tests that have not passed before come first."""

import json
from pathlib import Path
from typing import Any

import pytest

LONGEST = 2000
"""Characters of what a failure says."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where outcomes are written, and which tests come last."""
    parser.addoption("--outcomes", help="file of JSON lines")  # not as paths: pytest-xdist hands options on as plain values
    parser.addoption("--passed", help="JSON file, a list of tests that have passed before")


def pytest_configure(config: pytest.Config) -> None:
    """Write in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(Path(str(config.getoption("--outcomes")))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests first that are not known to pass; all processes find the same order."""
    passed = set(json.loads(Path(str(config.getoption("--passed"))).read_text(encoding="utf-8")))
    items.sort(key=lambda item: item.nodeid in passed)


class Outcomes:
    """Lines of a file, one a test; of a test that fails when it is taken down, a second one.

    Args:
        file: the file, which is begun anew.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text("", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the outcome of a call, and of preparations only if there is none."""
        if report.when != "call" and (report.passed or (report.when == "teardown" and report.skipped)):
            return
        line: dict[str, Any] = {"test": report.nodeid, "outcome": report.outcome}
        if report.failed:
            line["said"] = said(report.longreprtext)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


def said(text: str) -> str:
    """Return the lines of a failure that pytest marks as its reason; all of it if none is."""
    reason = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return ("\n".join(reason) or text)[-LONGEST:]
