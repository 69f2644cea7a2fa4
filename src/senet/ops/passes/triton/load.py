"""Whether the Triton kernels run here."""

from functools import cache
from importlib.util import find_spec

import torch

from senet.ops.passes.protocol import Kernels

OLDEST = (8, 0)
"""The oldest compute capability that has bfloat16."""


@cache
def load(device: str = "cuda") -> tuple[Kernels | None, str]:
    """Return the kernels and a remark, or None and why they do not run here.

    In Triton's interpreter (TRITON_INTERPRET=1 before triton is imported) they take maps on any device.

    Args:
        device: type of device of the maps.
    """
    if find_spec("triton") is None:
        return None, "triton is not installed; pip install triton"
    from triton import knobs

    interpreted = knobs.runtime.interpret
    if not interpreted:
        if device != "cuda":
            return None, f"it takes maps on a CUDA device, these are on {device}"
        if torch.version.hip is not None or not torch.cuda.is_available():
            return None, "torch finds no CUDA device"
        if torch.cuda.get_device_capability() < OLDEST:
            return None, f"{torch.cuda.get_device_name()} is older than compute capability {OLDEST[0]}.{OLDEST[1]}"
    from senet.ops.passes.triton.passes import TritonKernels

    return TritonKernels(), "in Triton's interpreter, for tests only" if interpreted else ""
