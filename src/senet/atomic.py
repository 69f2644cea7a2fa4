"""Files that are either the old or the new version, whatever happens while they are written."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from senet.errors import UsageError
from senet.text import printable

FULL = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room in your share of the disk",
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f)",
}
"""What the system says where there is no room: the disk, the user's share of it, or the largest file allowed -> what helps."""


REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)
"""What it says where nothing can be written any more: a disk that was mounted anew to be read only, rights that were taken away, a drive
that does not answer."""


class NotWrittenError(Exception):
    """File that cannot be written; the one that was to be replaced is as it was."""

    exit_code = 1


class DiskFullError(NotWrittenError):
    """Lack of room for a file."""


@contextmanager
def replacing(path: str | Path, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` in one step when the block succeeds.

    The folder is made if need be. The temporary path is of this call alone, so that two processes cannot write into one file. The data
    reach the disk before the name does, so that a power cut cannot leave an empty file, and the name before this returns.

    Args:
        path: the file to write.
        keep: where the old version goes. A process that is killed at that moment leaves it in both places; on a file system that gives a
            file no second name, only there.

    Raises:
        DiskFullError: if there is no room.
        NotWrittenError: if nothing can be written there for another reason.
        UsageError: if a folder stands where a file is to be.
    """
    path = Path(path)
    check_no_folders(path, *([] if keep is None else [keep]))
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        if keep is not None and path.is_file():
            _name_also(path, keep)
        temporary.replace(path)
        _sync_names(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"cannot write {path}: {os.strerror(error.errno)}, {_room(path)} free there; "
                f"nothing was replaced. {FULL[error.errno]}, then go on"
            ) from error
        if error.errno in REFUSED and error.filename in (str(temporary), str(path.parent), None):  # not what the block reads
            raise NotWrittenError(
                f"cannot write {path}: {os.strerror(error.errno)}; nothing was replaced. See that it can be written there, then go on"
            ) from error
        raise
    finally:
        with suppress(OSError):  # of a disk that can only be read by now
            temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _name_also(path: Path, other: Path) -> None:
    """Give a file a second name, in place of another file; where files have one name only, it replaces the first."""
    second = _beside(other)
    try:
        second.hardlink_to(path)
    except OSError:
        path.replace(other)
        return
    try:
        second.replace(other)
    finally:
        second.unlink(missing_ok=True)  # it stays where both were one file before


def write_text(path: str | Path, text: str) -> None:
    """Replace the text of a file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_no_folders(*paths: Path) -> None:
    """Raise UsageError for the first of some files to be written in whose place a folder stands."""
    for path in paths:
        if path.is_dir():
            raise UsageError(f"cannot write {printable(path, None)}: a folder stands there; move it away")


def temporaries(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return what processes left in a folder that ended while they wrote files of these names.

    Whoever removes them must know that no process is writing there.
    """
    left = re.compile(rf"\.({'|'.join(map(re.escape, names))})(\.\d+-[0-9a-f]{{8}})?\.tmp")  # those of a fixed name, too
    return [entry for entry in sorted(folder.iterdir()) if left.fullmatch(entry.name) and not entry.is_dir()]


def _sync_names(folder: Path) -> None:
    """Let the names of a folder's files reach the disk, where the system has a way to ask for that."""
    with suppress(OSError):  # Windows opens no folders, some network drives sync none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _room(path: Path) -> str:
    place = next(parent for parent in path.absolute().parents if parent.exists())
    return f"{shutil.disk_usage(place).free / 1e6:,.0f} MB"
