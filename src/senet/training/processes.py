"""Fabric as this project starts it: device, precision, threads, and several processes when a launcher made them."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from senet.data.loaders import CorruptLog
from senet.data.workers import signal_at_parents_end
from senet.errors import UsageError
from senet.training.launch import check_devices, process_count
from senet.training.peers import peer_timeout

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""The recipe's name of a precision -> Fabric's. The mixed ones keep weights in float32; fp16 scales the loss."""

PIXELS_A_THREAD = 16384
"""Pixels of a batch that keep one CPU thread busy."""


def start_fabric(precision: str, accelerator: str = "auto") -> Fabric:
    """Start Fabric on this process's device.

    Under `torchrun` (the variables WORLD_SIZE and LOCAL_WORLD_SIZE) the processes train as one, data-parallel; else there is one process.

    Args:
        precision: "fp32", "bf16" or "fp16".
        accelerator: "auto" takes a GPU if there is one; "cpu" does not.

    Raises:
        UsageError: if the device cannot train in this precision, or processes are more than devices.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its remarks on precision and ranks
    world = process_count()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if world > 1 and accelerator != "cpu":
        check_devices(local)
    if precision == "fp16" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise UsageError("training.precision 'fp16' needs a CUDA device, and there is none here; a CPU trains in 'bf16' or 'fp32'")
    fabric = Fabric(
        accelerator=accelerator,
        strategy=DDPStrategy(timeout=peer_timeout()) if world > 1 else "auto",
        devices=local,
        num_nodes=world // local,
        precision=PRECISIONS[precision],  # pyright: ignore[reportArgumentType] - a plain str of the same names
        plugins=None if world > 1 else [LightningEnvironment()],  # else Fabric looks for SLURM, and advises against what works
    )
    fabric.launch()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun, killed, would leave its processes behind
        signal_at_parents_end(signal.SIGTERM)  # on which a run is saved
    return fabric


@contextmanager
def limited_threads(pixels: int) -> Iterator[None]:
    """Use no more CPU threads than pay for themselves in batches of this many pixels, and afterwards as many as before.

    Threads wait for each other in every operator. On images as small as the digits that costs more than it saves, many times more on a
    machine that is busy. As the number depends on the recipe, so small a run gives the same weights on any number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, pixels // PIXELS_A_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def agreed_signal(fabric: Fabric, signum: int) -> int:
    """Return the highest of the processes' signal numbers."""
    numbers = torch.tensor(signum, device=fabric.device)
    torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
    return int(numbers)


def pool_names(corrupt: CorruptLog) -> None:
    """Let every process know the unreadable images that any has met."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        names: list[set[str]] = [set()] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(names, corrupt.names)
        corrupt.add(set[str]().union(*names))
