"""Are there known faults in what is locked? Ask by `make audit`.

First the list of `known_bad.toml`, which needs no network: the locks, and the lowest releases that pyproject.toml takes. Then pip-audit,
which asks PyPI; where it does not answer, a line says so, and the list alone decides.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from supply.lock import LOCKS, ROOT, locked_packages

AUDITED = "requirements.lock"

LONGEST_AUDIT = 600
"""Seconds that pip-audit may take."""


def known_bad() -> dict[str, dict[str, Any]]:
    """Return package -> the release before which all are bad, identifiers of the faults, and what they are."""
    return tomllib.loads((Path(__file__).parent / "known_bad.toml").read_text(encoding="utf-8"))


def bad_locked(bad: Mapping[str, Mapping[str, Any]], root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each locked release that is bad."""
    for name in LOCKS:
        for package in locked_packages(root / name):
            entry = bad.get(package.name)
            if entry is not None and package.version < Version(entry["below"]):
                yield f"{name}: {package.name} {package.version} is before {entry['below']}: {entry['why']} ({', '.join(entry['ids'])})"


def bad_minimums(bad: Mapping[str, Mapping[str, Any]], root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each requirement of pyproject.toml that a bad release fulfils."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    for text in (*project["project"]["dependencies"], *(text for extra in extras.values() for text in extra)):
        requirement = Requirement(text)
        entry = bad.get(canonicalize_name(requirement.name))
        lowest = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==", "~=")]
        if entry is not None and (not lowest or max(lowest) < Version(entry["below"])):
            yield f"pyproject.toml: {text} takes releases before {entry['below']}: {entry['why']} ({', '.join(entry['ids'])})"


def asked(lock: Path) -> tuple[list[str], int]:
    """Return what PyPI knows against the releases of a lock, a line each, and about how many packages it could be asked."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "audit.json"
        words = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", str(answer), "-r", str(lock)]
        try:
            subprocess.run([sys.executable, "-m", "pip_audit", *words], capture_output=True, timeout=LONGEST_AUDIT, check=False)
            entries = json.loads(answer.read_bytes())["dependencies"]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return [], 0
    known = [entry for entry in entries if "vulns" in entry]  # of others it says why they are skipped
    return [f"{lock.name}: {entry['name']} {entry['version']}: {fault['id']}" for entry in known for fault in entry["vulns"]], len(known)


def main() -> int:
    """Print what is known; return 1 if anything is."""
    bad, lock = known_bad(), ROOT / AUDITED
    said, answers = asked(lock)
    faults = [*bad_locked(bad), *bad_minimums(bad), *said]
    for line in faults:
        print(line)
    packages = len(list(locked_packages(lock)))
    if answers < packages:
        print(
            f"PyPI answered about {answers} of {packages} packages; known_bad.toml, {len(bad)} packages, decides of the others",
            file=sys.stderr,
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
