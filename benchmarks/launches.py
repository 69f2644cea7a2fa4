"""Time what launches and residual tails cost the host: `python -m benchmarks.launches`.

Without a GPU Triton compiles for an H100 that is not there (`stand_in.py`) and maps are small ones on the CPU. What a launch costs below
Python, in the driver, is then added as a constant for each launch, of a kernel or of an operation of torch.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from time import process_time
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.run import COMMITTED, RESULTS, result_path
from benchmarks.stand_in import hopper
from senet import ChannelSE, ChannelSpatialSE, backend
from senet.atomic import write_text
from senet.measuring.machine import bench_environment
from senet.ops import backend as backends
from senet.ops.passes.triton import kernels, launch
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.passes import TritonKernels
from senet.ops.tail.call import activated_norm, preactivated_tail, recalibrated_norm, residual_tail

DRIVER = 2.5
"""Microseconds of a launch below Python, assumed where there is no device."""

SMALL = (2, 32, 4, 4)
"""Maps whose values cost nothing to speak of."""

UNLAUNCHED = re.compile(
    r"_?(unsafe_)?(view|reshape|expand|as_strided|unsqueeze|squeeze|select|slice|split|unbind|t|detach|(new_)?empty|alias|promote_types)(_\w+)?$"
)
"""Names of torch's operations that start nothing on a device."""

Function = Callable[[], object]
Name = TypeVar("Name")


@dataclass(frozen=True)
class Cost:
    """What one call costs the host: microseconds in this process, and how many launches it makes, of kernels or of torch's operations."""

    microseconds: float
    launches: int

    def to_dict(self, driver: float) -> dict[str, float]:
        """Return both, and the sum with what is below Python."""
        return {"python": self.microseconds, "launches": self.launches, "host": self.microseconds + driver * self.launches}


def timed(functions: Mapping[Name, Function], rounds: int, calls: int) -> dict[Name, float]:
    """Return the microseconds of process CPU a call of each, in interleaved rounds between which a device's queue is emptied.

    Of the rounds it is the lower quartile: what else the machine does only adds.
    """
    found: dict[Name, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            begin = process_time()
            for _ in range(calls):
                function()
            found[name].append((process_time() - begin) / calls * 1e6)
    return {name: quantiles(times, n=4)[0] for name, times in found.items()}


def ways_of_launching(device: str) -> dict[str, Function]:
    """Return one launch of `affine` with ten pointers each way, and one addition of torch."""
    x = torch.zeros(SMALL, dtype=torch.bfloat16, device=device).to(memory_format=torch.channels_last)
    c, grid = SMALL[1], grid_of(Grid, x, Tiling(), summed=False)
    of_maps, mask = torch.zeros(SMALL[:2], device=device), torch.zeros(2, 4, 4, 4, dtype=torch.uint8, device=device)
    given = (x, None, 4, of_maps, of_maps, c, x, None, None, x, mask, *grid.sizes, grid.tiles)
    affine: Any = kernels.affine
    sizes, programs = {"RELU": True, **grid.tile}, grid.blocks * grid.tiles
    compiled = affine[(programs,)](*given, **sizes, enable_fp_fusion=True)
    constants = tuple(sizes[parameter.name] for parameter in affine.params[len(given) :])

    def run(x: Tensor, scale: Tensor, mask: Tensor) -> Tensor:
        launch.launch(affine, programs, x, None, 4, scale, scale, c, x, None, None, x, mask, *given[11:], **sizes)
        return torch.empty_like(x)

    def wrapped(x: Tensor, scale: Tensor, mask: Tensor) -> Tensor:
        kernel: Any = torch.library.wrap_triton(affine)
        kernel[(programs,)](x, None, 4, scale, scale, c, x, None, None, x, mask, *given[11:], **sizes, enable_fp_fusion=True)
        return torch.empty_like(x)

    custom = torch.library.custom_op("senet_benchmarks::affine", run, mutates_args=())
    traced = torch.library.triton_op("senet_benchmarks::traced_affine", wrapped, mutates_args=())
    return {
        "Triton: kernel[grid](...)": lambda: affine[(programs,)](*given, **sizes, enable_fp_fusion=True),
        "bound: launch(...)": lambda: launch.launch(affine, programs, *given, **sizes),
        "compiled[grid](...), nothing looked at": lambda: compiled[(programs, 1, 1)](*given, *constants),
        "triton_op, wrap_triton": lambda: traced(x, of_maps, mask),
        "custom_op, bound": lambda: custom(x, of_maps, mask),
        "torch: x + x": lambda: torch.add(of_maps, of_maps),
        "torch: empty_like": lambda: torch.empty_like(of_maps),
    }


Form = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Results of a tail by branch and shortcut."""


def forms(device: str) -> dict[str, tuple[Form, tuple[nn.Module, ...]]]:
    """Return tails and their modules, by what the shortcut and the block are, as `senet.ops.tail.worthwhile` tells them apart."""
    c = SMALL[1]
    norm, other = (nn.BatchNorm2d(c).to(device) for _ in range(2))
    se, scse = ChannelSE(c).to(device), ChannelSpatialSE(c).to(device)
    return {
        "none, plain": (lambda x, r: (activated_norm(x, norm),), (norm,)),
        "none, SE": (lambda x, r: (recalibrated_norm(x, norm, se),), (norm, se)),
        "identity, plain": (lambda x, r: (residual_tail(x, r, norm=norm),), (norm,)),
        "identity, SE": (lambda x, r: (residual_tail(x, r, norm=norm, recalibrate=se),), (norm, se)),
        "identity, scSE": (lambda x, r: (residual_tail(x, r, norm=norm, recalibrate=scse),), (norm, scse)),
        "projected, plain": (lambda x, r: (residual_tail(x, r, norm=norm, shortcut_norm=other),), (norm, other)),
        "projected, SE": (lambda x, r: (residual_tail(x, r, norm=norm, shortcut_norm=other, recalibrate=se),), (norm, other, se)),
        "pair, plain": (lambda x, r: preactivated_tail(x, r, recalibrate=None, norm=norm), (norm,)),
        "pair, SE": (lambda x, r: preactivated_tail(x, r, recalibrate=se, norm=norm), (norm, se)),
    }


class Counted(TorchDispatchMode):
    """Count of torch's operations that start something on a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += UNLAUNCHED.match(operator.overloadpacket.__name__) is None
        return operator(*args, **(kwargs or {}))


def launches_of(function: Function) -> int:
    """Return how many kernels of Triton and operations of torch a call starts."""
    with Counted() as operations:
        kernels = kernels_of(function)
    return operations.count + kernels


def kernels_of(function: Function) -> int:
    """Return how many kernels of Triton a call starts."""
    started, before = [0], launch.start

    def count(*arguments: Any) -> None:
        started[0] += 1
        before(*arguments)

    launch.start = count  # pyright: ignore[reportAttributeAccessIssue]
    try:
        function()
    finally:
        launch.start = before
    return started[0]


def steps(device: str) -> dict[str, dict[str, Function]]:
    """Return for each tail, forward alone and with its backward, a call by the definition and one by the operator."""
    x, r = (torch.randn(SMALL, dtype=torch.bfloat16).to(device).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    found: dict[str, dict[str, Function]] = {}
    for name, (form, parts) in forms(device).items():
        inputs = (x, r, *(parameter for part in parts for parameter in part.parameters()))
        for backward in (False, True):
            found[f"{name}, {'training' if backward else 'forward'}"] = {
                which: _step(form, which, inputs, backward) for which in (backends.REFERENCE, "triton")
            }
    return found


def _step(form: Form, which: str, inputs: tuple[Tensor, ...], backward: bool) -> Function:
    x, r = inputs[:2]
    dy = torch.randn_like(x)

    def run() -> None:
        with backend(which), torch.set_grad_enabled(backward):
            y = form(x, r)
            if backward:
                torch.autograd.grad(y, inputs, [dy] * len(y), allow_unused=True)

    return run


@contextmanager
def device_or_stand_in() -> Iterator[str]:
    """Yield the device that is there; else the CPU, with Triton's kernels compiled for an H100 and not started."""
    if torch.cuda.is_available():
        yield "cuda"
        return
    before, passes = backends.BUILDERS["triton"], TritonKernels()
    backends.BUILDERS["triton"] = lambda device: (passes, "")
    try:
        with hopper():
            yield "cpu"
    finally:
        backends.BUILDERS["triton"] = before


def measured(rounds: int, calls: int) -> dict[str, Any]:
    """Return what launches and tails cost, ready for JSON."""
    with device_or_stand_in() as device:
        driver = 0.0 if device == "cuda" else DRIVER
        tails = {(name, which): function for name, both in steps(device).items() for which, function in both.items()}
        for function in tails.values():
            function()
        found = {"ways": timed(ways_of_launching(device), rounds, calls), "tails": {}}
        found |= {"driver": driver, "rounds": rounds, "calls": calls}
        for (name, which), microseconds in timed(tails, rounds, calls // 10).items():
            cost = Cost(microseconds, launches_of(tails[name, which]))
            found["tails"].setdefault(name, {})[which] = cost.to_dict(driver)
    return {"benchmark": "launches", **bench_environment(device, packages=("triton",), sources=COMMITTED), **found}


def table(found: Mapping[str, Any]) -> Table:
    """Return the figures as lines."""
    lines = Table(box=None, pad_edge=False)
    for heading in ("", "definition, us", "launches", "operator, us", "launches"):
        lines.add_column(heading, justify="left" if not heading else "right")
    for name, microseconds in found["ways"].items():
        lines.add_row(Text(name), "", "", f"{microseconds:.1f}", "")
    for name, both in found["tails"].items():
        lines.add_row(name, *(text for cost in both.values() for text in (f"{cost['host']:.0f}", str(cost["launches"]))))
    return lines


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=200, help="of a launch, in a round; of a tail a tenth of it")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = measured(args.rounds, args.calls)
    write_text(result_path(args.out, "launches", found), json.dumps(found, indent=2) + "\n")
    Console().print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
