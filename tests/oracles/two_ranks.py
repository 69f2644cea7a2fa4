"""A step on a batch that two processes share; for processes that are started anew, which import it by its name."""

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from senet import ChannelSE, backend
from senet.ops.tail.call import residual_tail

SHARES = (3, 2)
"""Images of each process."""


class Unit(nn.Module):
    """Parts of a tail with a projection, whose norms may be of several processes."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.norm, self.shortcut_norm, self.se = norm(6), norm(6), ChannelSE(6, 2)
        for tensor in self.parameters():
            tensor.data = torch.randn(tensor.shape, generator=generator)
        self.double()

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        """Join both."""
        return residual_tail(x, r, norm=self.norm, shortcut_norm=self.shortcut_norm, recalibrate=self.se)


def maps() -> list[Tensor]:
    """Return branch, shortcut and gradient of the whole batch; the first images lie far from the others."""
    generator = torch.Generator().manual_seed(1)
    made = [torch.randn(sum(SHARES), 6, 5, 3, generator=generator, dtype=torch.float64) for _ in range(3)]
    made[0][: SHARES[0]] += 30
    return made


def step(unit: nn.Module, parts: list[Tensor]) -> dict[str, Tensor]:
    """Return output and gradients of one step."""
    x, r, dy = parts
    x, r = x.clone().requires_grad_(), r.clone().requires_grad_()
    y = unit(x, r)
    y.backward(dy)
    return {"y": y.detach(), "x": x.grad, "r": r.grad}  # pyright: ignore[reportReturnType]


def gradients(unit: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of the parameters by name."""
    return {name: p.grad for name, p in unit.named_parameters() if p.grad is not None}


def process(rank: int, port: int, folder: Path) -> None:
    """Take one step on this process's images, and save what came of it."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        mine = [v.split(SHARES)[rank] for v in maps()]
        joint, own = Unit(nn.SyncBatchNorm), Unit(nn.BatchNorm2d)
        with backend("cpp"):
            kept: dict[str, Any] = step(joint, mine)  # DistributedDataParallel refuses SyncBatchNorm on CPUs
            step(DistributedDataParallel(own), mine)
        for gradient in gradients(joint).values():
            dist.all_reduce(gradient)
        for kind, unit in (("joint", joint), ("own", own)):
            kept |= {f"{kind} {name}": gradient for name, gradient in gradients(unit).items()}
        kept |= dict(joint.named_buffers())
        torch.save(kept, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
