"""What a lock says: packages with their releases and the checksums of their files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]

LOCKS = ("requirements.lock", "requirements-floor.lock", "requirements-uv.lock", "requirements-audit.lock")


@dataclass(frozen=True)
class LockedPackage:
    """One release of a package.

    Args:
        name: its name, in the form that registries compare.
        version: of the release.
        hashes: SHA-256 of its files, in hexadecimal digits.
    """

    name: str
    version: Version
    hashes: tuple[str, ...]


def locked_packages(path: Path) -> Iterator[LockedPackage]:
    """Yield the packages of a lock; one stands there several times if it has several releases, for several versions of Python.

    Raises:
        ValueError: if an entry is not of one release.
    """
    for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if not entry.strip() or entry.startswith("#"):
            continue
        requirement = Requirement(entry.partition(" --hash")[0])
        (release,) = requirement.specifier
        if release.operator != "==":
            raise ValueError(f"{path.name}: {requirement} is not one release")
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
        yield LockedPackage(canonicalize_name(requirement.name), Version(release.version), hashes)
