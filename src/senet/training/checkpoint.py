"""last.ckpt: everything that a run needs to go on as if it had never stopped; and previous.ckpt, the one before, should that be damaged.

Both are files of `torch.save` with a line of text behind them: the SHA-256 of all bytes before it.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

import senet
from senet.atomic import replacing
from senet.checksum import HashedFile
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.schema import brief
from senet.text import printable
from senet.weights.archive import check_archive
from senet.weights.trailer import is_as_written, trailer

log = logging.getLogger("senet")

FORMAT, OLDER = 3, (1, 2)
"""The format that is written, and those that are read besides: 2 has no checksum and no origin, 1 another tally, see `Tally.restored`."""


class DamagedCheckpointError(UsageError):
    """Checkpoint that is not what was written."""


def write_checkpoint(run: RunFolder, state: dict[str, Any]) -> None:
    """Replace a run's checkpoint in one step and keep the one before; `state` holds tensors and plain data only.

    Raises:
        DiskFullError: if there is no room; both are as they were.
    """
    with replacing(run.checkpoint, keep=run.previous) as temporary, temporary.open("wb") as file:
        hashed = HashedFile(file)
        try:
            torch.save({"format": FORMAT, "senet": senet.__version__, **state}, hashed)  # pyright: ignore[reportArgumentType] - `write` and `flush` are all it calls
        except RuntimeError:  # torch's words for what the file said
            if hashed.error is None:
                raise
            raise hashed.error from None
        file.write(trailer(hashed.digest.hexdigest()))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote, on the CPU.

    Raises:
        DamagedCheckpointError: if the file is missing, not what was written, or holds anything but tensors and plain data.
        UsageError: if it is of another version's format; it names the version.
    """
    if not path.is_file():
        raise DamagedCheckpointError(f"{str(path)!r} {'is missing' if not path.exists() else 'is not a file'}")
    as_written = is_as_written(path)
    if as_written is False:
        raise DamagedCheckpointError(f"{str(path)!r} is damaged: it is not what was written, by its checksum")
    try:
        check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # torch's remarks on pickles that it did not write
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise DamagedCheckpointError(f"{str(path)!r} is damaged or no checkpoint of senet") from error
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(found, int):
        raise UsageError(f"{str(path)!r} is no checkpoint of senet: its format is {brief(found)}")
    if found not in (FORMAT, *OLDER):
        raise UsageError(
            f"{str(path)!r} was written by another version of senet, {brief(state.get('senet', 'unknown'))}, in format {found}; this one, "
            f"{senet.__version__}, reads {min(OLDER)} to {FORMAT}: go on with that one, or train the run from its start in another folder"
        )
    if as_written is None and found not in OLDER:
        raise DamagedCheckpointError(f"{str(path)!r} is damaged: its checksum is missing")
    return state


def latest_checkpoint(run: RunFolder) -> dict[str, Any]:
    """Return a run's checkpoint; a damaged one is replaced by the one before, and a warning says so.

    Raises:
        UsageError: if there is none that can be used.
    """
    try:
        return read_checkpoint(run.checkpoint)
    except DamagedCheckpointError as damage:
        try:
            state = read_checkpoint(run.previous)
        except DamagedCheckpointError as other:
            raise UsageError(
                f"{damage}, and {other}: the run cannot go on; remove {str(run.path)!r} to train it from its start"
            ) from damage
        log.warning("%s: going on from %s, the checkpoint before", printable(damage, 500), run.previous.name)
    run.previous.replace(run.checkpoint)
    return state
