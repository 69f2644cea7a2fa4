"""On what a run was made: versions, devices, processes."""

import os
import platform
from datetime import UTC, datetime
from typing import Any

import torch
from lightning_fabric import Fabric

from senet.measuring.machine import processor, version_of

PACKAGES = ("senet", "torch", "torchvision", "lightning-fabric", "torchmetrics", "numpy", "pillow", "safetensors")


def describe_environment(fabric: Fabric) -> dict[str, Any]:
    """Return plain data for environment.json."""
    cuda = fabric.device.type == "cuda"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(fabric.device) if cuda else processor(),
        "accelerator": fabric.device.type,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "processes": fabric.world_size,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
