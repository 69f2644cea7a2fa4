"""How kernels are started on a device: as `kernel[grid](...)` starts them, but bound once, since binding costs more than starting.

What Triton compiles depends on the types of the arguments, on which pointers are multiples of 16 bytes, which are None, on integers, and on
the sizes. All of it is the key to what was compiled; a launch looks only that up. `python -m benchmarks.launches` says what this saves.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver

ALIGNMENT = 16
"""Bytes of which Triton wants to know whether a pointer is a multiple."""

LIMIT = 4096
"""Launches that are kept bound, at most: integers are bound by value, and a program may see any number of shapes."""

BY_TYPE = frozenset((bool, float))
"""Types of arguments by which kernels are told apart, whatever their values."""

NO_TENSORS = BY_TYPE | {int, type(None)}
"""Types of arguments that are no tensors."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Compiled kernel on a device, ready to be started.

    Args:
        compiled: what Triton made.
        run: starts it.
        constants: the sizes, behind the arguments.
        device: returns the device that is current.
        stream: returns the stream that is current on a device.
    """

    compiled: Any
    run: Callable[..., None]
    constants: tuple[Any, ...]
    device: Callable[[], int]
    stream: Callable[[int], int]

    def start(self, index: int, programs: int, given: list[Any], arguments: tuple[Any, ...]) -> None:
        """Start the kernel on a device's current stream; whoever listens to Triton's launches (a profiler) hears of it.

        Args:
            index: of the device, which is current.
            programs: how many.
            given: the arguments, tensors as their addresses.
            arguments: the arguments.
        """
        compiled, stream = self.compiled, self.stream(index)
        enter, leave = knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook
        said = None
        if _listens(enter) or _listens(leave):
            said = compiled.launch_metadata((programs, 1, 1), stream, *arguments, *self.constants)
        else:
            enter = leave = None
        self.run(programs, 1, 1, stream, compiled.function, compiled.packed_metadata, said, enter, leave, *given, *self.constants)


class Launcher:
    """Launches that were bound, by what they depend on."""

    def __init__(self) -> None:
        self._bound: dict[tuple[Any, ...], Bound] = {}

    def __call__(self, kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, Any]) -> None:
        """Start a kernel on the device of its first argument."""
        key: list[Any] = [id(kernel), *sizes, *sizes.values()]
        given: list[Any] = []
        for v in arguments:
            kind = type(v)
            if v is None or kind is int:
                key.append(v)
                given.append(v)
            elif kind in BY_TYPE:
                key.append(kind)
                given.append(v)
            else:
                address = v.data_ptr()
                key += (v.dtype, v.get_device(), address % ALIGNMENT)
                given.append(address)
        index, found = arguments[0].get_device(), tuple(key)
        bound = self._bound.get(found)
        if bound is not None and (index < 0 or bound.device() == index):
            bound.start(index, programs, given, arguments)
            return
        with torch.cuda.device(index) if index >= 0 else nullcontext():
            if bound is None:
                self._bind(found, kernel, programs, arguments, sizes)
            else:
                bound.start(index, programs, given, arguments)

    def _bind(self, key: tuple[Any, ...], kernel: Any, programs: int, arguments: tuple[Any, ...], sizes: dict[str, Any]) -> None:
        """Start a kernel through Triton, which compiles it if it has to, and keep what came of it; its interpreter leaves nothing.

        Multiplications and additions fuse, said here since Triton's default changes.
        """
        compiled = kernel[(programs,)](*arguments, **sizes, enable_fp_fusion=True)
        if not isinstance(compiled, CompiledKernel):
            return
        constants = tuple(sizes.get(parameter.name, parameter.default) for parameter in kernel.params[len(arguments) :])
        if len(self._bound) >= LIMIT:
            self._bound.clear()
        run: Any = compiled.run
        found: Any = driver.active
        self._bound[key] = Bound(compiled, run, constants, found.get_current_device, found.get_current_stream)


def _listens(hook: Any) -> bool:
    return hook is not None and getattr(hook, "calls", True) != []


start = Launcher()
"""What `launch` calls; tests replace it."""


def launch(kernel: Any, programs: int, *arguments: Any, **sizes: Any) -> None:
    """Start a kernel on the device of its first argument, on the stream that is current there.

    Args:
        kernel: function of Triton.
        programs: how many run.
        arguments: its first arguments, in their order: tensors, None for what it is to leave out, numbers.
        sizes: the others, which it is compiled for, and options of Triton's compiler (`num_warps`).
    """
    start(kernel, programs, arguments, sizes)


def dense(*vectors: Tensor | None) -> tuple[Any, ...]:
    """Return vectors as kernels read them; those that are contiguous are not copied."""
    return tuple(None if v is None else v.contiguous() for v in vectors)
