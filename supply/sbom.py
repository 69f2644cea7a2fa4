"""Write a bill of materials of a lock, CycloneDX 1.5, by `make sbom`: every package with its release and the checksums of its files."""

import hashlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from supply.lock import ROOT, LockedPackage, locked_packages


def bill(lock: Path, project: Path) -> dict[str, Any]:
    """Return the bill of materials of a lock, as plain data; the same lock gives the same bill."""
    told = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": told["name"],
                "name": told["name"],
                "version": told["version"],
                "licenses": [{"license": {"id": told["license"]}}],
            },
            "properties": [{"name": "senet:lock:sha256", "value": digest}],
        },
        "components": [_component(package) for package in locked_packages(lock)],
    }


def _component(package: LockedPackage) -> dict[str, Any]:
    address = f"pkg:pypi/{package.name}@{package.version}"
    return {
        "type": "library",
        "bom-ref": address,
        "name": package.name,
        "version": str(package.version),
        "purl": address,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.hashes],
    }


if __name__ == "__main__":
    json.dump(bill(ROOT / "requirements.lock", ROOT / "pyproject.toml"), sys.stdout, indent=1)
    print()
