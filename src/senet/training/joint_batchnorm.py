"""BatchNorm that normalises by the images of all processes, as if one had the whole batch."""

from typing import Any

import torch
from torch import nn

from senet.errors import UsageError
from senet.ops.tail.joint import JointBatchNorm
from senet.training.batchnorm import BATCHNORM

SHARED = (nn.SyncBatchNorm, JointBatchNorm)
"""Layers that do so already."""

ALONE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers that are made to; just these types, since a subclass may do more."""


def join_batchnorm(model: nn.Module, device: torch.device) -> None:
    """Put layers that several processes share in the place of BatchNorm, with the same parameters and buffers.

    On a GPU they are torch's `nn.SyncBatchNorm`, elsewhere, where torch has none, `JointBatchNorm`; the fused tail takes both.

    Args:
        model: the network, on the device.
        device: where it trains.

    Raises:
        UsageError: if a BatchNorm is of another class, which may do more.
    """
    kind = nn.SyncBatchNorm if device.type == "cuda" else JointBatchNorm
    made: dict[nn.Module, nn.Module] = {}
    for path, parent in list(model.named_modules()):
        for name, child in parent.named_children():
            if not isinstance(child, BATCHNORM) or isinstance(child, SHARED):
                continue
            if type(child) not in ALONE:
                where = f"{path}.{name}" if path else name
                raise UsageError(f"training.sync_bn cannot join {where}: its class, {type(child).__name__}, may do more than BatchNorm")
            if child not in made:
                made[child] = _joined(child, kind)
            setattr(parent, name, made[child])


def _joined(norm: Any, kind: type[nn.SyncBatchNorm] | type[JointBatchNorm]) -> nn.Module:
    joined = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
    joined._parameters.update(norm._parameters)
    joined._buffers.update(norm._buffers)
    return joined.train(norm.training)
