"""BatchNorm that stands still: SENet-154 and the detectors freeze it for the last epochs (SENet, appendix)."""

import torch
from torch import nn

from senet.ops.tail.joint import JointBatchNorm

# The common base of all BatchNorm classes, SyncBatchNorm too; torch gives it no public name.
BATCHNORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, JointBatchNorm)


def freeze_batchnorm(model: nn.Module) -> None:
    """Let every BatchNorm use its running statistics without updating them, and take gamma and beta out of training.

    `model.train()` undoes the first half: call this again after it.
    """
    for module in model.modules():
        if isinstance(module, BATCHNORM):
            module.eval()
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
                parameter.grad = None


def broadcast_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers: each has gathered BatchNorm statistics from its own images."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
