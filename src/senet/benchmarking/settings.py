"""What is to be measured, as data, and what may be asked for. No torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from senet.errors import UsageError
from senet.spec import check_choice, check_positive

BENCH_MODES = ("training", "inference")
DTYPES = ("fp32", "bf16", "fp16")
BATCH = {"training": 32, "inference": 1}
"""Images in a batch where nobody says."""


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Args:
        mode: "training" (forward, cross-entropy and backward; no optimiser, which does not differ) or "inference".
        dtype: fp32; or bf16 and fp16, by autocast in training and by converted weights in inference.
        device: name of a torch device.
        rounds: rounds of timing; each visits every function twice.
        max_seconds: no new round begins after so many seconds, once there are three.

    Raises:
        UsageError: for a name outside its set, or a number below its least.
    """

    mode: str = "inference"
    dtype: str = "fp32"
    device: str = "cpu"
    rounds: int = 11
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, BENCH_MODES)
        check_choice("dtype", self.dtype, DTYPES)
        check_positive("rounds", self.rounds)
        if not self.max_seconds > 0:
            raise UsageError(f"max_seconds must be positive, got {self.max_seconds}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def shape_text(shape: Sequence[int]) -> str:
    """Write a batch: (8, 3, 224, 224) is "8 x 3x224x224"."""
    return f"{shape[0]} x {'x'.join(map(str, shape[1:]))}"
