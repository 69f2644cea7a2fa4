"""Statistics of a batch that several processes share: exact, and alike on all of them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Count = int | Tensor
"""How many values a channel has; a tensor without dimensions where processes had to be asked."""


def merged(mu: Tensor, squares: Tensor, count: int, group: Any) -> tuple[Tensor, Tensor, Count]:
    """Merge means and centred squares (C,) over the values of all processes; without a group they stay as they are.

    The squares of the processes are never taken around another mean than their own (Chan, Golub, LeVeque, 1983).
    """
    if group is None:
        return mu, squares, count
    mine = torch.cat((mu, squares, mu.new_tensor([count])))
    all_of_them = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(all_of_them, mine, group=group)
    mus, parts, counts = torch.stack(all_of_them).split((len(mu), len(mu), 1), 1)
    total = counts.sum()
    mu = (mus * counts).sum(0) / total
    return mu, (parts + counts * (mus - mu).square()).sum(0), total


def summed(first: Tensor, second: Tensor, count: int, group: Any) -> tuple[Tensor, Tensor, Count]:
    """Add two vectors (C,) and the count over all processes; without a group they stay as they are."""
    if group is None:
        return first, second, count
    total = torch.cat((first, second, first.new_tensor([count])))
    dist.all_reduce(total, group=group)
    return total[: len(first)], total[len(first) : -1], total[-1]
