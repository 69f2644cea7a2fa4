"""Triton's driver for a device that is not there: what is compiled, is for it; what is started, ends before it would reach the device.

Python's part of a launch is that of Triton's own launcher. What is left out is its part in C, which unpacks arguments and calls the driver.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.driver import CudaLauncher
from triton.runtime.driver import driver


def _nothing(*arguments: Any) -> None:
    """Do what the part in C would."""


class Launcher(CudaLauncher):
    """Launcher of a kernel, without its part in C."""

    def __init__(self, src: Any, metadata: Any) -> None:
        self.num_ctas = getattr(metadata, "num_ctas", 1)
        self.global_scratch_size, self.global_scratch_align = metadata.global_scratch_size, metadata.global_scratch_align
        self.profile_scratch_size, self.profile_scratch_align = metadata.profile_scratch_size, metadata.profile_scratch_align
        self.launch_cooperative_grid, self.launch_pdl = metadata.launch_cooperative_grid, metadata.launch_pdl
        self.arg_annotations = self.kernel_signature = b""
        self.gsan_enabled = False
        self.launch = _nothing


class Utils:
    """What Triton asks of a driver's part in C."""

    def get_device_properties(self, device: Any) -> dict[str, int]:
        return {"max_shared_mem": 232448}

    def load_binary(self, name: str, kernel: bytes, shared: int, device: Any) -> tuple[int, int, int, int, int]:
        return 1, 1, 0, 0, 1024

    def unload_module(self, module: int) -> None:
        pass


class Hopper:
    """Stand-in for the driver of an H100: one device, told from all others and from those of other stand-ins.

    Args:
        launcher: what starts kernels.
    """

    utils = Utils()

    def __init__(self, launcher: Any = Launcher) -> None:
        self.launcher_cls = launcher

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> "Hopper":
        return self

    def get_current_stream(self, device: Any) -> int:
        return 0


@contextmanager
def hopper(launcher: Any = Launcher) -> Iterator[Hopper]:
    """Have Triton compile for an H100 and start nothing, inside a `with` block."""
    before, found = driver._active, Hopper(launcher)
    driver.set_active(found)  # pyright: ignore[reportArgumentType]
    try:
        yield found
    finally:
        driver._active = before
