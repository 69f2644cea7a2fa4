"""Waiting for a device that works asynchronously."""

import torch


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
