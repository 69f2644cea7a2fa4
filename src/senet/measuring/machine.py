"""On what, with what and when a number was found: device, threads, versions, commit, date. Importing this loads no torch."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).parents[1]
TRAINED_WITH = ("senet", "torch", "torchvision", "lightning-fabric", "torchmetrics", "numpy", "pillow", "safetensors")
"""Distributions whose version can change what a run gives."""


def processor() -> str:
    """Return the name of this machine's CPU."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text(encoding="utf-8")) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def device_name(device: "str | torch.device" = "cpu") -> str:
    """Return the name of the processor or the GPU that a torch device stands for."""
    import torch

    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def prepare_process() -> None:
    """Set what libraries read when they are loaded: call this before torch is imported.

    Threads that wait must sleep, since spinning would count as process-CPU time; the profiler must not write to a terminal by itself.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def bench_environment(device: str = "cpu", packages: Iterable[str] = (), sources: Iterable[str | Path] = (PACKAGE,)) -> dict[str, Any]:
    """Return on what, with what and when something is measured, ready for JSON.

    Args:
        device: name of a torch device.
        packages: distributions whose version counts, beside Python, torch and this package; those that are absent are left out.
        sources: files or folders of the checkout that must be as committed, else the commit is "modified".
    """
    import torch

    named = {name: version_of(name) for name in ("torch", "senet", *packages)}
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: found for name, found in named.items() if found}},
        "commit": commit(sources),
        "date": _now(),
    }


def run_environment(device: "torch.device", *, processes: int = 1) -> dict[str, Any]:
    """Return on what and with what a run begins, ready for environment.json.

    Args:
        device: where this process trains.
        processes: how many train together.
    """
    import torch

    cuda = device.type == "cuda"
    return {
        "started": _now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in TRAINED_WITH},
        "device": device_name(device),
        "accelerator": device.type,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "processes": processes,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def commit(sources: Iterable[str | Path] = (PACKAGE,)) -> str | None:
    """Return the commit of the checkout that this package runs from, with a word if sources differ from it; None if it is installed."""
    here = PACKAGE / "__init__.py"
    if _git("ls-files", "--error-unmatch", str(here)) is None:  # a repository around an installed package is somebody else's
        return None
    head = _git("rev-parse", "HEAD")
    return f"{head}, modified" if _git("status", "--porcelain", "--", *map(str, sources)) else head


def version_of(package: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*words: str) -> str | None:
    """Return what git says in the folder of this package, or None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
