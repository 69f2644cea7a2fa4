"""Whether maps are large enough for the fused operator, where nobody asks for a backend.

The operator spares passes over maps, but may cost the host more than torch's operations do. A GPU and its host work side by side. It pays
where the device saves more than the host spends in addition; and where the device, with the definition and the convolution before it, is
busy for longer than the operator and the convolution take the host, which then stays ahead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from senet.ops.backend import requested
from senet.ops.tail.batchnorm import is_joint
from senet.ops.tail.fusible import TailModules

ON_CPU = 2**17
"""Values in a map below which, on a CPU, the passes that the operator saves cost less than its small steps (some 0.1 ms in all)."""

ACTIVATED_ON_CPU = 2**20
"""The same for BN and ReLU alone, of which fewer passes are saved: `python -m benchmarks.run activated_norms_resnet50` measures it."""

BANDWIDTH = 3.02e12
"""Bytes a second of a copy on an H100 80GB HBM3 (measured, torch 2.11, 2026-11-26); a slower device saves more time by as many bytes."""

SUSTAINED = 1.94e12
"""Bytes a second of a whole step: 122 GB of a ResNet-50 at batch 256 in 62.8 ms, as there."""

AROUND = 34.9e-3
"""Seconds that the host of that H100 took for a step of ResNet-50 without its 16 tails: 74.9 ms launched one by one, less 2.5 ms a tail."""

HOST = 2.6
"""How much longer it took for a tail than the core behind `SAVINGS`. Of a step of 64.5 ms, in which the device waited for it (2026-11-27,
commit c9db504), 29.6 ms were 16 tails with SE and what 17 BNs with their ReLUs took in addition, for which that core takes 11.4 ms."""

CONVOLUTION = {False: (2, 150), True: (7, 440)}
"""Without and with gradients: how often a convolution at least reads or writes maps, and microseconds of the host, conversions for autocast
and what stands around it included: the 53rd part of `AROUND`, less 33 BNs with their ReLUs. Without gradients a third is assumed."""


@dataclass(frozen=True)
class Saving:
    """Passes that the operator spares the device, and time that it costs the host, against the definition.

    Args:
        maps: how often less a map is read or written.
        microseconds: of a host's time in addition; 0 = it takes no more. `python -m benchmarks.launches` measures it, on a core of its own.
        passes: how often the definition reads or writes a map.
        host: microseconds of that core in all.
    """

    maps: float
    microseconds: float
    passes: float
    host: float

    def least(self, itemsize: int, training: bool) -> float:
        """Return the values in a map from which on the operator pays, of so many bytes each."""
        of_convolution, its_host = CONVOLUTION[training]
        saved = HOST * self.microseconds * BANDWIDTH / self.maps
        ahead = (HOST * self.host + its_host) * SUSTAINED / (self.passes + of_convolution)
        return min(saved, ahead) * 1e-6 / itemsize


SAVINGS: dict[tuple[str, bool, bool], Saving] = {
    ("none", False, False): Saving(2, 90, 4, 130),
    ("none", False, True): Saving(4.8, 200, 13, 330),
    ("none", True, False): Saving(2, 0, 5, 190),
    ("none", True, True): Saving(13, 0, 21, 480),
    ("identity", False, False): Saving(4, 90, 7, 140),
    ("identity", False, True): Saving(5.9, 190, 16, 360),
    ("identity", True, False): Saving(6, 0, 10, 210),
    ("identity", True, True): Saving(18.9, 0, 29, 500),
    ("projected", False, False): Saving(6, 110, 9, 180),
    ("projected", False, True): Saving(10.8, 200, 24, 420),
    ("projected", True, False): Saving(8, 0, 12, 240),
    ("projected", True, True): Saving(23.8, 0, 37, 560),
    ("pair", False, False): Saving(2, 80, 7, 160),
    ("pair", False, True): Saving(4, 170, 19, 380),
    ("pair", True, False): Saving(4, 0, 10, 200),
    ("pair", True, True): Saving(15, 0, 32, 540),
    ("positions", True, False): Saving(6, 90, 10, 440),
    ("positions", True, True): Saving(18.9, 280, 29, 1120),
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
    if requested() is not None or is_joint(modules.norm) or is_joint(modules.shortcut_norm):
        return True
    if branch.device.type != "cuda":
        if shortcut == "pair" and modules.recalibrate is None and torch.is_grad_enabled():
            return False  # a step of preresnet20, b128, took 1.06 of the time (without gradients 0.96; CPU time, one thread)
        alone = shortcut == "none" and modules.recalibrate is None
        return branch.numel() >= (ACTIVATED_ON_CPU if alone else ON_CPU)
    training = torch.is_grad_enabled()
    saving = SAVINGS[shortcut, modules.recalibrate is not None, training]
    return torch.compiler.is_compiling() or branch.numel() >= saving.least(branch.element_size(), training)
