"""Whether maps are large enough for the fused operator, where nobody asks for a backend.

The operator spares passes over maps, but may cost the host more than torch's operations do. A GPU and its host work side by side: it pays
where the time that the device saves is more than what the host spends in addition, so whichever of them is behind, nothing gets slower.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet.ops.backend import requested
from senet.ops.tail.fusible import TailModules

ON_CPU = 2**17
"""Values in a map below which, on a CPU, the passes that the operator saves cost less than its small steps (some 0.1 ms in all)."""

ACTIVATED_ON_CPU = 2**20
"""The same for BN and ReLU alone, of which fewer passes are saved: `python -m benchmarks.run activated_norms_resnet50` measures it."""

BANDWIDTH = 3.02e12
"""Bytes a second of a copy on an H100 80GB HBM3 (measured, torch 2.11, 2026-11-26); a slower device saves more time by as many bytes."""


@dataclass(frozen=True)
class Saving:
    """Passes that the operator spares the device, and time that it costs the host, against the definition.

    Args:
        maps: how often less a map is read or written.
        microseconds: of the host's time in addition; 0 = it takes no more. `python -m benchmarks.launches` measures it.
    """

    maps: float
    microseconds: float

    def least(self, itemsize: int) -> float:
        """Return the values in a map from which on the operator pays, of so many bytes each."""
        return self.microseconds * 1e-6 * BANDWIDTH / (self.maps * itemsize)


SAVINGS: dict[tuple[str, bool, bool], Saving] = {
    ("none", False, False): Saving(2, 80),
    ("none", False, True): Saving(4.8, 160),
    ("none", True, False): Saving(2, 0),
    ("none", True, True): Saving(13, 0),
    ("identity", False, False): Saving(4, 80),
    ("identity", False, True): Saving(5.9, 160),
    ("identity", True, False): Saving(6, 0),
    ("identity", True, True): Saving(18.9, 0),
    ("projected", False, False): Saving(6, 90),
    ("projected", False, True): Saving(10.8, 170),
    ("projected", True, False): Saving(8, 0),
    ("projected", True, True): Saving(23.8, 0),
    ("pair", False, False): Saving(2, 50),
    ("pair", False, True): Saving(4, 140),
    ("pair", True, False): Saving(4, 0),
    ("pair", True, True): Saving(15, 0),
    ("positions", True, False): Saving(6, 80),
    ("positions", True, True): Saving(18.9, 220),
}
"""Shortcut, whether there is a block, and whether there are gradients -> what a tail on a GPU saves."""


def is_worthwhile(branch: Tensor, modules: TailModules, shortcut: str) -> bool:
    """Return whether maps are large enough for the fused operator, or nobody is to ask.

    Processes that share a batch have to agree on what they compute, and so have the parts of a CUDA graph, which ask for a backend; in
    compiled code for a GPU the operator is one of few launches.

    Args:
        branch: output of the branch, (N, C, H, W).
        modules: what the tail is computed from.
        shortcut: "none", "identity", "projected", "pair" for a sum that is normalised, or "positions" whatever the shortcut of a block that
            gates positions.
    """
    if requested() is not None or any(isinstance(norm, nn.SyncBatchNorm) for norm in (modules.norm, modules.shortcut_norm)):
        return True
    if branch.device.type != "cuda":
        if shortcut == "pair" and modules.recalibrate is None and torch.is_grad_enabled():
            return False  # a step of preresnet20, b128, took 1.06 of the time (without gradients 0.96; CPU time, one thread)
        alone = shortcut == "none" and modules.recalibrate is None
        return branch.numel() >= (ACTIVATED_ON_CPU if alone else ON_CPU)
    saving = SAVINGS[shortcut, modules.recalibrate is not None, torch.is_grad_enabled()]
    return torch.compiler.is_compiling() or branch.numel() >= saving.least(branch.element_size())
