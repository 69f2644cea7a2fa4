"""Where and how a part measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from senet.benchmarking.result import Comparison
from senet.benchmarking.run import Candidates, measure
from senet.benchmarking.settings import Settings

Found = tuple[str, dict[str, Any]]
"""Key of a measure, and what it gave as plain data; a part yields one after the other, and each is written at once."""


@dataclass(frozen=True)
class Place:
    """Device and time of a part.

    Args:
        device: "cuda" or "cpu".
        quick: small networks, few images and one round, to see that the code runs.
        data: folder of CIFAR-10, or None for noise of its size.
        folder: where files may be written.
    """

    device: str
    quick: bool
    data: Path | None
    folder: Path

    @property
    def on_cuda(self) -> bool:
        """Whether it measures a GPU."""
        return self.device != "cpu"

    def settings(self, mode: str, dtype: str = "bf16") -> Settings:
        """Return the settings of a comparison."""
        return Settings(mode, dtype, self.device, rounds=1 if self.quick else 15, max_seconds=1.0 if self.quick else 5.0)

    def measured(self, candidates: Candidates, about: str, mode: str) -> Comparison:
        """Time functions against each other, in interleaved rounds."""
        return measure(candidates, about, self.settings(mode))

    def free(self) -> None:
        """Give back the device's memory that nothing holds any more."""
        torch.compiler.reset()
        if self.on_cuda:
            torch.cuda.empty_cache()
