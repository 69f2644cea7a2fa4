"""Autocast, left where an operator decides about types by itself."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class _Off:
    """Context in which autocast is off on a type of device where it is on; `torch.autocast` takes five times as long."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __enter__(self) -> None:
        torch.set_autocast_enabled(self.kind, False)

    def __exit__(self, *raised: object) -> None:
        torch.set_autocast_enabled(self.kind, True)


def precisely(x: Tensor) -> AbstractContextManager[object]:
    """Return the context in which operations on x keep their types; where autocast is off there is nothing to enter, which takes time."""
    kind = x.device.type
    return _Off(kind) if torch.is_autocast_enabled(kind) else _NOTHING


_NOTHING = nullcontext()
