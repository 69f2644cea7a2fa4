"""Batch normalisation in a tail: its statistics, exact over images and processes, its gradient, and its running averages.

u = scale (x - mean) + beta with scale = gamma inverse_std, inverse_std = 1 / sqrt(var + eps). As u = scale x + shift, no pass of its own is
needed to make it.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from senet.ops.passes.maps import precision
from senet.ops.passes.protocol import Kernels


@dataclass(frozen=True)
class RunningAverages:
    """Running averages that a step moves, where a backend can do so as it computes the statistics.

    Args:
        batches: how many batches they have seen, a tensor without dimensions.
        momentum: the share of a new batch.
    """

    batches: Tensor
    momentum: float


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation as data.

    Args:
        gamma: weight (C,); None = 1.
        beta: bias (C,); None = 0.
        running_mean: (C,), for evaluation.
        running_var: (C,), for evaluation.
        use_batch: whether the batch's statistics are used instead.
        eps: what is added to the variance.
        group: the processes that share a batch (SyncBatchNorm); None = this one has its own.
        averages: what a step moves running_mean and running_var by; None = they stay, or `update_running` moves them afterwards.
    """

    gamma: Tensor | None
    beta: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    use_batch: bool
    eps: float
    group: Any = None
    averages: RunningAverages | None = None


IDENTITY = BatchNorm(None, None, None, None, use_batch=False, eps=0.0)
"""What stands in for a normalisation where there is none."""


@dataclass(frozen=True)
class Normalization:
    """Affine map of a normalisation, each (C,): u = scale (x - mean) + beta, scale = gamma inverse_std."""

    mean: Tensor
    inverse_std: Tensor
    scale: Tensor

    def shift(self, norm: BatchNorm) -> Tensor:
        """Return the constant of u = scale x + shift, (C,)."""
        return -self.mean * self.scale if norm.beta is None else norm.beta - self.mean * self.scale


@dataclass(frozen=True)
class Statistics:
    """Mean and unbiased variance of a batch, (C,) each, for the running averages."""

    mean: Tensor
    var: Tensor


def as_data(module: Any, x: Tensor) -> BatchNorm | None:
    """Return a normalisation of `senet.ops.tail.joint.LAYERS`, or None, as data.

    Raises:
        ValueError: as the module does, if it is to train on one value a channel.
    """
    if module is None:
        return None
    running = module.running_mean, module.running_var
    use_batch = module.training or running[0] is None
    group = _group(module) if is_joint(module) else None
    if use_batch and group is None and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    return BatchNorm(module.weight, module.bias, *running, use_batch, module.eps, group, _averages(module, *running))


def _averages(module: Any, mean: Tensor | None, var: Tensor | None) -> RunningAverages | None:
    """Return what moves a module's running averages, unless `update_running` has to: for a compiler, and in float64, exactly."""
    if torch.compiler.is_compiling() or not (module.training and module.track_running_stats) or module.momentum is None:
        return None
    of_both = [v for v in (mean, var) if v is not None and v.is_contiguous() and v.dtype != torch.float64]
    return RunningAverages(module.num_batches_tracked, module.momentum) if len(of_both) == 2 else None


def is_joint(module: Any) -> bool:
    """Return whether a normalisation goes by the images of all processes, as `nn.SyncBatchNorm` does."""
    return hasattr(module, "process_group")


def _group(module: Any) -> Any:
    """Return the processes whose batches a normalisation sees as one, None if there is one process or it does not train."""
    if not (module.training and dist.is_available() and dist.is_initialized()):
        return None
    group = module.process_group or dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None


def update_running(module: Any, mean: Tensor | None, var: Tensor | None) -> None:
    """Move a module's running averages to a batch's statistics (C,) as `nn.BatchNorm2d` does; None = the batch's were not used."""
    if mean is None or var is None or not (module.training and module.track_running_stats):
        return
    with torch.no_grad():
        module.num_batches_tracked.add_(1)
        share = module.momentum if module.momentum is not None else 1 / module.num_batches_tracked.to(mean.dtype)
        module.running_mean.lerp_(mean.to(module.running_mean.dtype), share)
        module.running_var.lerp_(var.to(module.running_var.dtype), share)


def normalise(kernels: Kernels, x: Tensor, norm: BatchNorm | None, *, squeeze: bool) -> tuple[Tensor, Normalization, Statistics | None]:
    """Read a map x (N, C, H, W) for its statistics.

    Returns:
        The means of each map, (N, C), zeros where neither the squeeze nor the normalisation needs them; what the normalisation does; and
        the batch's statistics, None if it does not use them.
    """
    norm = norm or IDENTITY
    needed = squeeze or norm.use_batch
    means, squares = kernels.moments(x, norm.use_batch) if needed else (x.new_zeros(len(x), x.shape[1], dtype=precision(x)),) * 2
    return means, *normalization(norm, means, squares, x.shape[2] * x.shape[3])


def normalization(norm: BatchNorm, means: Tensor, squares: Tensor, positions: int) -> tuple[Normalization, Statistics | None]:
    """Return what a normalisation does, and the batch's statistics, None if it does not use them.

    Args:
        norm: the normalisation.
        means: of each map, (N, C), in the type of the results.
        squares: their centred sums of squares, (N, C), if the batch's statistics are used.
        positions: of a map.
    """
    statistics = None
    if norm.use_batch:
        mean = means.mean(0)
        squares = squares.sum(0) + positions * (means - mean).square().sum(0)  # exact in two levels (Chan et al.)
        mean, squares, count = merge_moments(mean, squares, len(means) * positions, norm.group)
        var, statistics = squares / count, Statistics(mean, squares / (count - 1))
    else:
        zero = means.new_zeros(means.shape[1])
        mean = zero if norm.running_mean is None else norm.running_mean.to(means.dtype)
        var = zero + 1 if norm.running_var is None else norm.running_var.to(means.dtype)
    inverse_std = torch.rsqrt(var + norm.eps)
    return Normalization(mean, inverse_std, scaled_by(inverse_std, norm.gamma)), statistics


def statistics_gradient(
    norm: BatchNorm, normalization: Normalization, dbeta: Tensor, dgamma: Tensor, count: int
) -> tuple[Tensor | None, Tensor]:
    """Return by_x and constant, (C,), of what the batch's mean and variance add to the gradient of x: by_x x + constant.

    Args:
        norm: the normalisation.
        normalization: what it did.
        dbeta: gradient of beta, (C,).
        dgamma: gradient of gamma, (C,).
        count: values of a channel in this process.
    """
    if not norm.use_batch:
        return None, torch.zeros_like(normalization.mean)
    dbeta, dgamma, total = sum_over_processes(dbeta, dgamma, count, norm.group)
    by_x = -normalization.scale * normalization.inverse_std * dgamma / total
    return by_x, -normalization.scale * dbeta / total - by_x * normalization.mean


def scaled_by(v: Tensor, factor: Tensor | None) -> Tensor:
    """Multiply by a factor; None = 1."""
    return v if factor is None else v * factor


Count = int | Tensor
"""How many values a channel has; a tensor without dimensions where processes had to be asked."""


def merge_moments(mean: Tensor, squares: Tensor, count: int, group: Any) -> tuple[Tensor, Tensor, Count]:
    """Merge means and centred squares (C,) over the values of all processes; without a group they stay as they are.

    The squares of the processes are never taken around another mean than their own (Chan, Golub, LeVeque, 1983).
    """
    if group is None:
        return mean, squares, count
    own = torch.cat((mean, squares, mean.new_tensor([count])))
    of_all = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(of_all, own, group=group)
    means, parts, counts = torch.stack(of_all).split((len(mean), len(mean), 1), 1)
    total = counts.sum()
    mean = (means * counts).sum(0) / total
    return mean, (parts + counts * (means - mean).square()).sum(0), total


def sum_over_processes(first: Tensor, second: Tensor, count: int, group: Any) -> tuple[Tensor, Tensor, Count]:
    """Add two vectors (C,) and the count over all processes; without a group they stay as they are."""
    if group is None:
        return first, second, count
    total = torch.cat((first, second, first.new_tensor([count])))
    dist.all_reduce(total, group=group)
    return total[: len(first)], total[len(first) : -1], total[-1]
