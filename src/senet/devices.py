"""Devices by name: those that this machine has and torch can use."""

import os

import torch

from senet.errors import UsageError


def default_device() -> torch.device:
    """Return a GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def available_device(name: str | torch.device) -> torch.device:
    """Return a device that can compute here.

    Raises:
        UsageError: for another, with those that are here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:  # its message lists thirty backends, most of which no build of torch has
        raise UsageError(f"unknown device {str(name)!r}; allowed: {_here()}") from None
    kind, index = device.type, device.index or 0
    if kind != "cpu" and (kind != _accelerator() or index >= torch.accelerator.device_count()):
        raise UsageError(f"this machine has no device {str(name)!r} that torch can use; allowed: {_here()}; `senet doctor` says more")
    return device


def gpu_of(number: int) -> dict[str, str]:
    """Return the variable with which a process sees one GPU, that of its number among those seen here, in turn; nothing without GPUs.

    The variable counts for a process that has not used CUDA yet, and best for one that has not begun. GPUs are counted without using them.
    """
    variable, count = "CUDA_VISIBLE_DEVICES", torch.cuda.device_count()
    named = os.environ.get(variable)
    names = [str(index) for index in range(count)] if named is None else [name.strip() for name in named.split(",")][:count]
    return {variable: names[number % len(names)]} if names else {}


def _accelerator() -> str | None:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if found is None else found.type


def _here() -> str:
    kind = _accelerator()
    return ", ".join(["cpu", *([] if kind is None else [kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count()))])])
