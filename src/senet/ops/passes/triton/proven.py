"""Which kernels have run on a device, in the form that they have: most are written where there is none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceCheck:
    """Run of kernels on a device in which their tests held.

    Args:
        device: its name.
        torch: version.
        triton: version.
        date: of the run.
        commit: of this package.
    """

    device: str
    torch: str
    triton: str
    date: str
    commit: str

    def __str__(self) -> str:
        return f"{self.device}, torch {self.torch}, triton {self.triton}, {self.date}, commit {self.commit}"


H100 = DeviceCheck("NVIDIA H100 80GB HBM3", "2.11.0+cu130", "3.6", "2026-11-26", "a16d6e0")

PROVEN: dict[str, tuple[DeviceCheck, str]] = {
    "apply_positions": (H100, "bac59582be24b6b3"),
    "merge_moments": (H100, "2dbd005a507f4c65"),
    "merge_sums": (H100, "f4e1ce142d746c7d"),
}
"""Kernel -> where it ran, and the digest of its code and of what it calls, as tests/ops/passes/test_proven.py computes it."""

CHANGED: dict[str, DeviceCheck] = dict.fromkeys(("affine", "moments", "reduce", "reduce_positions", "spread_positions"), H100)
"""Kernel that was written anew since it ran -> where that was."""

UNPROVEN: tuple[str, ...] = (
    "activate_squeeze",
    "add_pair",
    "apply_pair",
    "excite_join",
    "gate",
    "gate_gradient",
    "norm_gradient",
    "pair_gate",
    "pair_gate_gradient",
    "pair_moments",
    "pair_statistics",
    "plain_gradient",
    "reduce_pair",
    "spread_both",
    "spread_pair",
    "squeeze_gradient",
    "statistics",
)
"""Kernels that have run in Triton's interpreter, and were compiled for sm_90, but have not run on a device."""
