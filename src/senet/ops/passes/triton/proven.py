"""Which kernels have run on a device, in the form that they have: they are written where there is none."""

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


H100 = DeviceCheck("NVIDIA H100 80GB HBM3", "2.11.0+cu130", "3.6.0", "2026-11-27", "c9db504")

PROVEN: dict[str, tuple[DeviceCheck, str]] = {
    "activate_squeeze": (H100, "720b6df87c4e1327"),
    "add_pair": (H100, "5eb03a9aaed807bf"),
    "affine": (H100, "b0d911e89fa1fb6f"),
    "apply_pair": (H100, "e118e9b36a8a3884"),
    "apply_positions": (H100, "bac59582be24b6b3"),
    "excite_join": (H100, "c9758073bade5b12"),
    "gate": (H100, "a46a548758a2cab7"),
    "gate_gradient": (H100, "6fda8ba681eae8c1"),
    "merge_moments": (H100, "2dbd005a507f4c65"),
    "merge_sums": (H100, "f4e1ce142d746c7d"),
    "moments": (H100, "32d99bb8a9058c68"),
    "norm_gradient": (H100, "8478fff32a47352f"),
    "pair_gate": (H100, "f2b2c449237f1929"),
    "pair_gate_gradient": (H100, "b0393cb4e64ddf99"),
    "pair_moments": (H100, "7b65744d1bc312ea"),
    "pair_statistics": (H100, "db7a1079862b53b8"),
    "plain_gradient": (H100, "4f054b44c6ef906c"),
    "reduce": (H100, "b7b3038f4a70f67d"),
    "reduce_pair": (H100, "1254d9a6c9a28e9b"),
    "reduce_positions": (H100, "33c87669593a665f"),
    "spread_both": (H100, "71938526fd1d2b9f"),
    "spread_pair": (H100, "b4a0c3e77be878ba"),
    "spread_positions": (H100, "ecae15949881117b"),
    "squeeze_gradient": (H100, "21b4010c28366151"),
    "statistics": (H100, "22fb97af5dea90bc"),
}
"""Kernel -> where it ran, and the digest of its code and of what it calls, as tests/ops/passes/test_proven.py computes it."""

CHANGED: dict[str, DeviceCheck] = {}
"""Kernel that was written anew since it ran -> where that was."""

UNPROVEN: tuple[str, ...] = ()
"""Kernels that have run in Triton's interpreter, and were compiled for sm_90, but have not run on a device."""
