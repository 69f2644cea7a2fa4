"""The end of a residual unit: normalise, recalibrate, add the shortcut, rectify. Every residual network calls it once a unit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from senet.ops.backend import REFERENCE, asked_or_best, choose, is_asked_for
from senet.ops.hooks import is_bare
from senet.ops.passes.maps import layout
from senet.ops.tail.autograd import Form, TailFunction, tail_of, tensors_of
from senet.ops.tail.channel import Norm
from senet.ops.tail.custom_op import tail_by_name
from senet.ops.tail.gates import Gates

Map = Callable[[Tensor], Tensor]

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Types of maps that the fused operator takes."""

SMALL = 2**17
"""Values in a map below which the passes that the fused operator saves cost less than its small steps (some 0.1 ms in all)."""


def keep(x: Tensor) -> Tensor:
    """Return x itself: the map that stands for no normalisation, no recalibration or no rectification."""
    return x


def residual_tail(
    branch: Tensor,
    shortcut: Tensor,
    *,
    norm: Map = keep,
    shortcut_norm: Map = keep,
    recalibrate: Callable[..., Tensor] = keep,
    pairwise: bool = False,
    placement: str = "standard",
    relu: bool = True,
) -> Tensor:
    """Join a residual branch u = norm(branch) and a shortcut x' = shortcut_norm(shortcut).

    Where BN, SE and ReLU allow it this is one operator, see `senet.ops.tail.channel`; `senet.backend` says by which backend.

    Args:
        branch: output of the branch's last convolution, (N, C, H, W).
        shortcut: input of the unit, or the output of its projection's convolution, (N, C, H, W).
        norm: the branch's last normalisation; pre-activation units have none.
        shortcut_norm: the projection's normalisation, if it has one.
        recalibrate: the unit's block, if it has one.
        pairwise: whether the block sees branch and shortcut, as CMPE-SE does: SE(u, x') in the place of SE(u). It takes "standard" only.
        placement: where the block acts (Hu et al., Figure 5); "pre" and "inner" act before the tail, so that it only adds.
        relu: whether the unit ends in a ReLU (post-activation form).

    Returns:
        With f = ReLU or the identity: "standard" f(x' + SE(u)), "identity" f(SE(x') + u), "post" SE(f(x' + u)), else f(x' + u).
    """
    if placement in ("standard", "pre", "inner") and not pairwise and not is_traced(branch, shortcut):
        y = _fused(branch, shortcut, norm, shortcut_norm, recalibrate if placement == "standard" else keep, relu)
        if y is not None:
            return y
    rectify = torch.relu if relu else keep
    u, x = norm(branch), shortcut_norm(shortcut)
    if placement == "post":
        return recalibrate(rectify(x + u))
    if placement == "standard":
        u = recalibrate(u, x) if pairwise else recalibrate(u)
    elif placement == "identity":
        x = recalibrate(x)
    return rectify(x + u)


def recalibrated_norm(x: Tensor, norm: Map, recalibrate: Map, gain: float = 1.0) -> Tensor:
    """Return gain SE(norm(x)), in one operator where `residual_tail` would be one. x: (N, C, H, W)."""
    y = None if is_traced(x) else _fused(x, None, norm, keep, recalibrate, False, gain)
    if y is not None:
        return y
    y = recalibrate(norm(x))
    return y if gain == 1 else y * gain


def takes(branch: Tensor, shortcut: Tensor | None, norm: Any, shortcut_norm: Any, recalibrate: Any, gain: float = 1.0) -> bool:
    """Return whether the fused operator computes just what these parts would, and has something to save."""
    if branch.ndim != 4 or branch.dtype not in TYPES or branch.numel() == 0:
        return False
    if (shortcut is not None and shortcut.shape != branch.shape) or (norm is keep and recalibrate is keep):
        return False
    return all(
        part is keep or (isinstance(part, nn.Module) and is_bare(part) and convertible(part))
        for part, convertible in zip((norm, shortcut_norm, recalibrate), (_is_norm, _is_norm, partial(_has_gates, gain=gain)), strict=True)
    )


def gates_of(recalibrate: Any, gain: float = 1.0) -> Gates:
    """Return the gates of a block that the operator takes; of `keep`, none."""
    return Gates(None) if recalibrate is keep else recalibrate.tail_gates(gain)


def is_traced(*maps: Any) -> bool:
    """Return whether these are symbols of a trace that is for other engines, or values of torch.func; torch.compile takes the operator."""
    if not all(isinstance(x, Tensor) for x in maps) or torch.compiler.is_exporting():
        return True
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return True
    return torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]


def _is_norm(part: Any) -> bool:
    return type(part) in (nn.BatchNorm2d, nn.SyncBatchNorm)


def _has_gates(part: Any, gain: float) -> bool:
    return getattr(part, "tail_gates", lambda gain: None)(gain) is not None


def _fused(
    branch: Tensor, shortcut: Tensor | None, norm: Any, shortcut_norm: Any, recalibrate: Any, relu: bool, gain: float = 1.0
) -> Tensor | None:
    """Return the tail by the fused operator; None where the definition is to be taken."""
    worth = branch.numel() >= SMALL or is_asked_for() or isinstance(norm, nn.SyncBatchNorm)  # processes have to agree on it
    if not worth or not takes(branch, shortcut, norm, shortcut_norm, recalibrate, gain):
        return None
    run = _traced(branch, norm, shortcut_norm) if torch.compiler.is_compiling() else _eager(branch)
    if run is None:
        return None
    tail = tail_of(as_data(norm, branch), gates_of(recalibrate, gain), as_data(shortcut_norm, branch), relu)
    memory_format = layout(branch)
    x = branch.contiguous(memory_format=memory_format)
    r = None if shortcut is None else shortcut.to(x.dtype).contiguous(memory_format=memory_format)
    y, mu, var, r_mu, r_var = run(Form.of(tail), x, r, *tensors_of(tail))
    update_running(norm, mu, var)
    update_running(shortcut_norm, r_mu, r_var)
    return y


Run = Callable[..., Sequence[Any]]
"""Computes what `TailFunction` does from a form, the maps and the tensors."""


def _eager(branch: Tensor) -> Run | None:
    kernels = choose(branch).kernels
    return None if kernels is None else partial(TailFunction.apply, kernels)


def _traced(branch: Tensor, *norms: Any) -> Run | None:
    if any(isinstance(norm, nn.SyncBatchNorm) for norm in norms):  # an operator cannot be given processes
        return None
    name = asked_or_best(branch.device.type)
    if name == REFERENCE or not (torch.is_grad_enabled() or is_asked_for()):  # without gradients a compiler fuses the definition itself
        return None
    return partial(tail_by_name, name)


def as_data(norm: Any, x: Tensor) -> Norm | None:
    """Return a normalisation module, or `keep`, as data.

    Raises:
        ValueError: as the module does, if it is to train on one value a channel.
    """
    if norm is keep:
        return None
    batch = norm.training or norm.running_mean is None
    group = _group(norm) if isinstance(norm, nn.SyncBatchNorm) else None
    if batch and group is None and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    return Norm(norm.weight, norm.bias, norm.running_mean, norm.running_var, batch, norm.eps, group)


def _group(norm: nn.SyncBatchNorm) -> Any:
    """Return the processes whose batches a normalisation sees as one, None if there is one process or it does not train."""
    if not (norm.training and dist.is_available() and dist.is_initialized()):
        return None
    group = norm.process_group or dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None


def update_running(norm: Any, mu: Tensor | None, var: Tensor | None) -> None:
    """Move the running statistics as `nn.BatchNorm2d` does."""
    if mu is None or var is None or not (norm.training and norm.track_running_stats):
        return
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        share = norm.momentum if norm.momentum is not None else 1 / norm.num_batches_tracked.to(mu.dtype)
        norm.running_mean.lerp_(mu.to(norm.running_mean.dtype), share)
        norm.running_var.lerp_(var.to(norm.running_var.dtype), share)
