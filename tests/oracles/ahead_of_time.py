"""Kernels compiled for sm_90 where there is no device, and what their machine code says of them."""

import re
import subprocess
from pathlib import Path
from typing import Any


class Hopper:
    """Stand-in for the driver of a device that is not there: triton asks it what to compile for."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> str:
        return "sm_90"

    def get_current_stream(self, device: str) -> int:
        return 0


def stack(kernel: Any, folder: Path) -> int:
    """Return the bytes of stack of a compiled kernel: what did not fit in registers."""
    from triton import knobs

    path = folder / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    said = subprocess.run([knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(path)], capture_output=True, text=True, check=True)
    found = re.search(r"STACK:(\d+).*LOCAL:(\d+)", said.stdout)
    assert found, said.stdout
    return int(found[1]) + int(found[2])


SHARED = 99 * 1024
"""Bytes of shared memory that a program has on any device of compute capability 8.0 or later."""


def spilt(compiled: list[tuple[str, Any]], folder: Path, allowed: int) -> dict[str, int]:
    """Return the kernels with more bytes of stack than allowed, or of shared memory than `SHARED`, and how many they have."""
    kernels = {kernel.hash: (name, kernel) for name, kernel in compiled}
    beyond = {name: size for name, kernel in kernels.values() if (size := stack(kernel, folder)) > allowed}
    return beyond | {name: kernel.metadata.shared for name, kernel in kernels.values() if kernel.metadata.shared > SHARED}
