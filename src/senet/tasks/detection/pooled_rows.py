"""Arrays that batches and processes add rows to."""

from collections.abc import Mapping

import numpy as np
import torch
from torchmetrics import Metric as Pooled


class Rows(Pooled):
    """Arrays whose rows are collected, over batches and processes.

    Args:
        empty: name -> an array without rows.
    """

    full_state_update = False

    def __init__(self, empty: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.names = tuple(empty)
        for name in empty:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, **arrays: np.ndarray) -> None:
        """Add rows by name."""
        for name, array in arrays.items():
            getattr(self, name).append(torch.from_numpy(array).to(self.device))

    def compute(self) -> dict[str, np.ndarray]:
        """Return the rows of all processes by name."""
        states = {name: getattr(self, name) for name in self.names}
        return {name: (torch.cat(rows) if isinstance(rows, list) else rows).cpu().numpy() for name, rows in states.items()}
