"""What a machine without a network may lack, collected on one that has pip."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

WANTED = ("lightning-fabric>=2.6.4", "lightning-utilities>=0.10", "pytorchcv>=0.0.74", "filelock>=3.20.3")
"""Packages of pure Python; all else that is needed comes with torch, torchvision, torchmetrics, timm, pytest and rich."""
LARGEST = 40e6
"""Bytes that the folder may have."""


def bring(folder: Path) -> int:
    """Download wheels with pip, unpack them below FOLDER/site, and say how large that is."""
    wheels, site = folder / "wheels", folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--dest", str(wheels), *WANTED]
    if subprocess.run([sys.executable, "-m", "pip", *words], check=False).returncode:
        return 1
    for wheel in sorted(wheels.glob("*.whl")):
        with ZipFile(wheel) as packed:
            packed.extractall(site)
        wheel.unlink()
    wheels.rmdir()
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"{site}: {size / 1e6:.1f} MB; on the other machine: --brought {folder}")
    return int(size > LARGEST)
