"""last.ckpt: everything that a run needs to go on as if it had never stopped."""

import pickle
from pathlib import Path
from typing import Any

import torch

from senet.atomic import replacing
from senet.errors import UsageError

FORMAT, OLDER = 2, (1,)
"""The format that is written, and those that are read besides: format 1 differs in its tally alone, see `Tally.restored`."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint in one step; `state` holds tensors and plain data only."""
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote, on the CPU.

    Raises:
        UsageError: if the file is damaged, holds anything but tensors and plain data, or is of another version's format.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UsageError(f"{str(path)!r} is damaged or no checkpoint of senet; remove it to train that run from its start") from error
    if not isinstance(state, dict) or state.get("format") not in (FORMAT, *OLDER):
        raise UsageError(f"{str(path)!r} was written by another version of senet; train the run from its start in another folder")
    return state
