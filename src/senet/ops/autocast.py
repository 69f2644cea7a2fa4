"""Autocast, left where an operator decides about types by itself."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def precisely(x: Tensor) -> AbstractContextManager[object]:
    """Return the context in which operations on x keep their types; where autocast is off there is nothing to enter, which takes time."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
