"""Where a step's work can be a CUDA graph, its capture, and what puts things right if that fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from lightning_fabric import Fabric

from senet.errors import UsageError, reason_of
from senet.recipe import Recipe


class CaptureError(Exception):
    """Work that cannot be captured; all is as it was before."""


class CudaRecorder:
    """Capture on a stream of its own, where the steps before it run too.

    Autograd remembers the stream on which it met a parameter first, cuBLAS keeps memory for each, and a capture must not touch another.

    Args:
        device: the device.
        optimizer: the optimiser, unwrapped.
        scaler: the loss scaler of fp16, or None.
    """

    def __init__(self, device: torch.device, optimizer: torch.optim.Optimizer, scaler: Any = None) -> None:
        self._device, self._optimizer, self._scaler = device, optimizer, scaler
        self._stream = torch.cuda.Stream(device)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let the capture's stream take up work after what was launched before, and what is launched later wait for it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture work without doing it; return what does it, on the current stream.

        Raises:
            CaptureError: if something in it cannot be captured.
        """
        self._optimizer.zero_grad(set_to_none=True)  # gradients belong to the graph's memory
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # the memory of the steps before; the graph has its own
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")  # loaders pin memory in another thread
                try:
                    work()
                except Exception:
                    with suppress(RuntimeError):  # it complains of what was raised already
                        graph.capture_end()
                    raise
                graph.capture_end()
        except Exception as error:
            self._put_right(graph, pool)
            raise CaptureError(reason_of(error)) from error
        return graph.replay

    def _put_right(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        """Undo what a capture that was broken off leaves behind in the allocator, the generator, the scaler and the gradients."""
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        with suppress(RuntimeError):  # the allocator may have ended by itself
            torch._C._cuda_endAllocateToPool(index, pool)
        has_ended = True
        try:
            graph.pool()  # refuses until the capture has ended
        except RuntimeError:
            has_ended = False
        with suppress(RuntimeError):
            graph.reset()
        if not has_ended:  # nor does it let go of its memory then
            with suppress(RuntimeError):
                torch._C._cuda_releasePool(index, pool)
        generator = torch.cuda.default_generators[index]
        generator.graphsafe_set_state(torch.Generator(self._device))  # the old one takes itself to be in a capture
        torch.manual_seed(torch.initial_seed())  # which was set for the step in hand
        for name in ("grad_scale", "found_inf"):
            vars(self._optimizer).pop(name, None)
        if self._scaler is not None:
            self._scaler._per_optimizer_states.clear()
        self._optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize(self._device)


def graph_obstacle(recipe: Recipe, fabric: Fabric, *, takes_targets: bool = False) -> str | None:
    """Return why no step of a recipe can be a CUDA graph here, as far as that is known before one is taken; None if nothing is.

    Args:
        recipe: what is trained.
        fabric: device and processes.
        takes_targets: whether the task calls its network with the targets too, see `senet.tasks.task.WithTargets`.
    """
    plan = recipe.training
    obstacles = {
        "it needs a CUDA device, and there is none here": fabric.device.type != "cuda",
        f"{fabric.world_size} processes train together, and exchange gradients in each": fabric.world_size > 1,
        "the task calls its network with targets, of which no two batches have the same form": takes_targets,
        "training.nonfinite skip asks the device at each step whether it counts": plan.nonfinite == "skip",
        "training.out_of_memory halve takes a step again in parts": plan.out_of_memory == "halve",
        "training.compile is on; torch.compile has graphs of its own": plan.compile,
        "optim.clip_norm with training.precision fp16 asks the device whether gradients are finite": plan.precision == "fp16"
        and recipe.optim.clip_norm is not None,
    }
    return next((obstacle for obstacle, holds in obstacles.items() if holds), None)


def check_graph(recipe: Recipe, fabric: Fabric, *, takes_targets: bool = False) -> None:
    """Raise UsageError if a recipe asks for CUDA graphs and cannot have them."""
    if recipe.training.cuda_graph and (obstacle := graph_obstacle(recipe, fabric, takes_targets=takes_targets)):
        raise UsageError(f"training.cuda_graph true is impossible: {obstacle}; null captures steps wherever that is possible")
