"""`senet doctor`: what this machine has, what is missing for which extra, and whether a data root is in order."""

import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

import senet
from senet.cli.arguments import CommandParser, add_json
from senet.cli.installed import CORE, Package, packages
from senet.data.workers import own_cores
from senet.errors import UsageError, reason_of
from senet.measuring.machine import processor

TOOLS = {
    "g++": (r"\d+\.\d+\.\d+", "torch.compile on the CPU, C++ operators"),
    "nvcc": (r"release ([\d.]+)", "operators for NVIDIA GPUs"),
    "ninja": (r"\d+\.\d+\.\d+", "builds operators"),
}
"""Compiler -> the pattern of its version, and what it is for."""

LITTLE_SHARED_MEMORY = 2**30
"""Bytes below which the batches of several worker processes may not fit."""

SAMPLED = 100
"""How many images of each split are read to see what they are like."""


@dataclass(frozen=True)
class Inspection:
    """One thing looked at.

    Args:
        section: what kind of thing.
        name: which.
        found: what is there.
        complaint: what is wrong or missing; empty = nothing.
        fatal: whether senet, or the data, cannot be used as it is.
    """

    section: str
    name: str
    found: str
    complaint: str = ""
    fatal: bool = False


@dataclass(frozen=True)
class Checkup:
    """Everything that was looked at."""

    checks: tuple[Inspection, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing fatal was found; a missing extra or compiler is not."""
        return not any(check.fatal for check in self.checks)

    def table(self) -> Table:
        """Return one line an inspection."""
        table = Table(box=None, pad_edge=False, show_header=False)
        section = None
        for check in self.checks:
            if section not in (None, check.section):
                table.add_row()
            style = "" if not check.complaint else "bold red" if check.fatal else "yellow"
            first = check.section if check.section != section else ""
            table.add_row(first, check.name, "; ".join(filter(None, (check.found, check.complaint))), style=style)
            section = check.section
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"healthy": self.healthy, "findings": [asdict(check) for check in self.checks]}


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--data-root", help="folder of images to check")
    parser.add_argument("--data-name", help="what it holds, as data.name says; default: as recognised (boxes, masks, volumes, classes)")
    parser.add_argument("--data-range", metavar="LOW,HIGH", help="the values that are black and white in images of more than 8 bits")
    add_json(parser)


def run(args: Namespace) -> int:
    """Look at everything; the exit code is 1 if senet or the data cannot be used."""
    from senet.cli.printing import show

    with warnings.catch_warnings(record=True) as remarks:  # of torch on a driver that is too old, or does not answer
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "senet computes without")  # the operators' line says so
        checks = [*_versions(), *_extras(), *_devices(), *_compilers(), *_operators()]
    said = dict.fromkeys(" ".join(str(remark.message).split()) for remark in remarks)
    checks += [Inspection("devices", "warning", "", line) for line in said]
    if args.data_root is not None or args.data_name is not None:
        checks += _data(args.data_name, args.data_root, args.data_range)
    checkup = Checkup(tuple(checks))
    show(checkup, as_json=args.json)
    return 0 if checkup.healthy else 1


def _versions() -> list[Inspection]:
    found = [
        Inspection("versions", "senet", senet.__version__),
        Inspection("versions", "Python", f"{platform.python_version()}, {sys.executable}"),
    ]
    return found + [Inspection("versions", p.name, p.found or "", p.complaint, fatal=bool(p.complaint)) for p in packages()[CORE]]


def _extras() -> list[Inspection]:
    return [_extra(name, wanted) for name, wanted in packages().items() if name != CORE]


def _extra(name: str, wanted: tuple[Package, ...]) -> Inspection:
    there = [f"{package.name} {package.found}" for package in wanted if not package.complaint]
    missing = ", ".join(package.complaint for package in wanted if package.complaint)
    found = ", ".join(there) if len(there) < 10 else f"{len(there)} packages"
    return Inspection("extras", name, found, missing and f"{missing}: pip install 'senet[{name}]'")


def _devices() -> list[Inspection]:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways: library not found, undefined symbol, ...
        return [Inspection("devices", "torch", "", f"cannot be imported: {reason_of(error)}", fatal=True)]
    kind = torch.backends.cpu.get_cpu_capability()
    devices = [Inspection("devices", "cpu", f"{processor()}, {own_cores()} cores, {kind}; torch uses {torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        devices.append(
            Inspection("devices", f"cuda:{index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {facts.major}.{facts.minor}")
        )
    if torch.backends.mps.is_available():
        devices.append(Inspection("devices", "mps", platform.machine()))
    if len(devices) == 1:
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for the CPU"
        devices.append(Inspection("devices", "accelerator", f"none; {built}"))
    return [*devices, *_shared_memory()]


def _shared_memory() -> list[Inspection]:
    from senet.data.shared_memory import FOLDER, REMEDY, shared_memory

    memory = shared_memory()
    if memory is None:
        return []
    complaint = f"too little for worker processes with large batches: {REMEDY}" if memory.free < LITTLE_SHARED_MEMORY else ""
    found = f"shared memory of {memory.total / 2**30:.2g} GiB, {memory.free / 2**30:.2g} free"
    return [Inspection("devices", str(FOLDER), found, complaint)]


def _compilers() -> list[Inspection]:
    places = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    checks = []
    for name, (pattern, use) in TOOLS.items():
        path = shutil.which(name, path=places)
        if path is None:
            checks.append(Inspection("compilers", name, "", f"not found ({use})"))
            continue
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        match = re.search(pattern, told)
        checks.append(Inspection("compilers", name, f"{match[match.lastindex or 0] if match else 'version unknown'}, {path}"))
    return checks


def _operators() -> list[Inspection]:
    """Return which fused operators run on each type of device, built if they are not yet, or why their definition does."""
    try:
        import torch

        from senet.ops.backend import BEST, fastest
    except Exception:  # the devices' line says so
        return []
    checks = []
    for device in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
        found = fastest(device)
        missing = f"{BEST[device]} cannot run: {found.reason}" if found.kernels is None and device in BEST else ""
        checks.append(Inspection("operators", device, found.name if missing else f"{found.name}, {found.reason}", missing))
    return [*checks, *_kernels()]


def _kernels() -> list[Inspection]:
    """Return which Triton kernels have run on a device, which did so in an earlier form, and which did not."""
    from senet.ops.passes.triton.proven import CHANGED, PROVEN, UNPROVEN

    ran: dict[str, list[str]] = {}
    for name, (where, _) in PROVEN.items():
        ran.setdefault(f"run on a device ({where})", []).append(name)
    for name, where in CHANGED.items():
        ran.setdefault(f"not yet run on a device in this form, but in an earlier one ({where})", []).append(name)
    if UNPROVEN:
        ran["not yet run on a device, but in Triton's interpreter, and compiled for sm_90"] = list(UNPROVEN)
    return [Inspection("operators", "triton kernels", f"{', '.join(sorted(names))}: {said}") for said, names in ran.items()]


def _data(named: str | None, root: str | None, limits: str | None) -> list[Inspection]:
    name = named or "folder"
    try:
        from senet.data.inspect_images import inspect_images
        from senet.data.recognised import recognised
        from senet.data.source import open_data
        from senet.recipe import build_recipe, parse_text

        name = named or recognised(root)
        stated = None if limits is None else parse_text(f"[{limits}]")
        source = open_data(build_recipe({"data": {"name": name, "root": root, "range": stated}}).data)
        seen = inspect_images((source.train, source.val), SAMPLED)
    except (UsageError, OSError) as error:
        return [Inspection("data", name, "", reason_of(error), fatal=True)]
    except ImportError as error:
        return [Inspection("data", name, "", f"{reason_of(error)}: pip install 'senet[train]'", fatal=True)]
    found = f"{len(source.train)} training and {len(source.val)} validation images of {len(source.classes)} classes"
    bad = seen.unreadable
    complaint = f"{len(bad)} of {seen.looked_at} images looked at cannot be read, such as {bad[0]}" if bad else ""
    return [
        Inspection("data", name, found, complaint, fatal=bool(bad)),
        *(Inspection("data", "", "", note) for note in (*source.notes, *seen.notes)),
    ]
