"""Whether a file that `torch.save` may have written can be read in bounded time and memory, seen before anything is read out of it.

PyTorch stores the records of its zip archives as they are, so that an archive that says it unpacks to more than itself is none of its
own. Its pickles are walked as data: how many operations they are, how large the values become when what is shared is counted each time it
is used, and how much is hashed. Which functions a pickle may call is for `torch.load` to say.
"""

import mmap
import pickletools
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from senet.errors import UsageError

ZIP = b"PK\x03\x04"
"""First bytes of an archive; the older format is five bare pickles, and the storages."""

DIRECTORY = 2**24
"""Bytes that the directory of an archive may have: those of 100,000 records."""

UNPACKED = 2**26
"""Bytes that an archive may unpack to beside its own size: other programs pack it anew, and compress it."""

OPERATIONS = 2 * 10**6
"""Operations of a pickle: a large network with its averages and optimiser has some 100,000."""

VALUES = 10**7
"""Values inside one value, and values that are hashed."""

PICKLES = 5
"""How many pickles begin a file of the older format."""

_GROWING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_HASHING = ("SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET", "REDUCE", "NEWOBJ")


def check_archive(path: Path) -> None:
    """Raise UsageError if a zip archive or a file of pickles would take more time or memory than what is in it is worth."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] != ZIP:
            for _ in range(PICKLES):
                if not _check_pickle(path, content):
                    return
            return
        _check_directory(path, content)
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            unpacked = sum(record.file_size for record in records)
            if unpacked > path.stat().st_size + UNPACKED:
                raise _too_much(path, f"unpacks to {unpacked:,} bytes")
            for record in records:
                if record.filename.endswith("data.pkl"):
                    _check_pickle(path, BytesIO(archive.read(record)))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, struct.error) as error:
        if isinstance(error, UsageError):
            raise
        raise _damaged(path) from error


def _check_directory(path: Path, content: Any) -> None:
    """Raise UsageError unless every program finds the same directory of a bounded size: at the end, and nothing behind it."""
    end = len(content) - 22
    size, offset, comment = struct.unpack("<IIH", content[end + 12 :]) if content[end : end + 4] == b"PK\x05\x06" else (0, 0, 1)
    if content[end - 20 : end - 16] == b"PK\x06\x07":
        end -= 76
        (place,) = struct.unpack("<Q", content[end + 64 : end + 72])
        size, offset = struct.unpack("<QQ", content[end + 40 : end + 56]) if place == end else (0, 0)
    if comment or offset + size != end:
        raise _damaged(path)
    if size > DIRECTORY:
        raise _too_much(path, f"has a directory of {size:,} bytes")


def _check_pickle(path: Path, stream: Any) -> bool:
    """Walk a pickle; return whether it came to its end. What comes behind an operation that is none is never reached by any reader.

    Raises:
        UsageError: if it is too long, or what it makes is too large.
    """
    stack: list[Any] = []
    memo: dict[Any, list[int]] = {}
    hashed = 0
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            name, before = operation.name, operation.stack_before
            if count > OPERATIONS:
                raise _too_much(path, f"holds a pickle of more than {OPERATIONS:,} operations")
            if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name == "MARK":
                stack.append(None)
            elif name == "DUP":
                stack.append(stack[-1])
            else:
                values = _popped(stack, before)
                size = 1 + sum(value[0] for value in values)
                if name in _HASHING:
                    hashed += size
                if name in _GROWING:
                    values[0][0] = size
                if operation.stack_after:
                    stack.append(values[0] if name in _GROWING else [size])
                if max(size, hashed) > VALUES:
                    raise _too_much(path, f"holds a pickle of more than {VALUES:,} values")
    except UsageError:
        raise
    except Exception:  # whatever a damaged pickle leads to
        return False
    return True


def _popped(stack: list[Any], before: list[Any]) -> list[list[int]]:
    """Take off a stack what an operation takes, down to the last mark if it takes that."""
    count = len(before)
    if pickletools.markobject in before:
        mark = len(stack) - 1 - stack[::-1].index(None)
        count = len(stack) - mark + before.index(pickletools.markobject)
    values = [stack.pop() for _ in range(count)][::-1]
    return [value for value in values if value is not None]


def _too_much(path: Path, what: str) -> UsageError:
    return UsageError(f"{str(path)!r} is not read: it {what}, which no file of weights needs")


def _damaged(path: Path) -> UsageError:
    return UsageError(f"cannot read weights from {str(path)!r}: the file is cut short or damaged; fetch it again")
