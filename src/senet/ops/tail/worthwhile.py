"""Whether maps are large enough for the fused operator."""

from torch import Tensor, nn

from senet.ops.backend import requested
from senet.ops.tail.fusible import TailModules

WORTHWHILE = 2**17
"""Values in a map below which the passes that the fused operator saves cost less than its small steps (some 0.1 ms in all)."""


def is_worthwhile(branch: Tensor, modules: TailModules) -> bool:
    """Return whether maps are large enough for the fused operator, or nobody is to ask: processes have to agree on what they compute."""
    return branch.numel() >= WORTHWHILE or requested() is not None or isinstance(modules.norm, nn.SyncBatchNorm)
