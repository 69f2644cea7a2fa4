"""Whether a file that `torch.save` may have written can be read in bounded time and memory, seen before anything is read out of it.

PyTorch stores the records of its zip archives as they are, so that an archive that says it unpacks to more than itself is none of its
own. Its pickles are walked as data: how many operations they are, how large the values become when what is shared is counted each time it
is used, and how much is hashed. Which functions a pickle may call is for `torch.load` to say.
"""

import mmap
import pickletools
import re
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from senet.errors import UsageError
from senet.weights.trailer import TRAILER_BYTES, trailer_length

ZIP = b"PK\x03\x04"
"""First bytes of an archive; the older format is five bare pickles, and the storages."""

LONGEST_DIRECTORY = 2**24
"""Bytes that the directory of an archive may have: those of 100,000 records."""

TAIL = 2**17
"""Bytes at the end of an archive in which every reader looks for the place of the directory."""

UNPACKED = 2**28
"""Bytes that an archive may unpack to beside its own size: other programs pack it anew, and compress it."""

MOST_OPERATIONS = 10**6
"""Operations of a pickle: a network of 300 tensors with its optimiser has 40,000."""

LARGEST_VALUE = 10**7
"""Values inside one value, and values that are hashed."""

PICKLES = 5
"""How many pickles begin a file of the older format."""

_GROWING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_HASHING = ("SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET", "REDUCE", "NEWOBJ")


def check_archive(path: Path) -> None:
    """Raise UsageError if a zip archive or a file of pickles would take more time or memory than what is in it is worth."""
    check_directory(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] == ZIP:
            _check_records(path, content)
        else:
            for _ in range(PICKLES):
                if not _check_pickle(path, content):
                    break


def check_directory(path: Path) -> None:
    """Raise UsageError if what may be the directory of a zip archive is too long to be read at once."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        end = file.read()
    for mark, place, form in ((b"PK\x05\x06", 12, "<I"), (b"PK\x06\x06", 40, "<Q")):
        for start in (found.start() + place for found in re.finditer(mark, end)):
            if len(end) >= start + struct.calcsize(form) and LONGEST_DIRECTORY < struct.unpack_from(form, end, start)[0] < size:
                raise _too_much(path, f"has a directory of more than {LONGEST_DIRECTORY:,} bytes")


def _check_records(path: Path, content: Any) -> None:
    """Raise UsageError if an archive unpacks to more than itself, has a pickle that does, or is not as PyTorch writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not _ends_in_directory(content, archive.start_dir):
                raise damage_error(path)
            records = archive.infolist()
            unpacked = sum(record.file_size for record in records)
            if unpacked > len(content) + UNPACKED:
                raise _too_much(path, f"unpacks to {unpacked:,} bytes")
            for record in records:
                if record.filename.endswith("data.pkl"):
                    _check_pickle(path, BytesIO(archive.read(record)))
    except UsageError:
        raise
    except Exception as error:  # whatever a damaged archive leads to
        raise damage_error(path) from error


def _ends_in_directory(content: Any, start: int) -> bool:
    """Return whether an archive ends in its directory and nothing but a checksum behind it: any reader then finds the one at `start`."""
    end = len(content) - trailer_length(content[-TRAILER_BYTES:]) - 22
    size, offset, comment = struct.unpack("<IIH", content[end + 12 : end + 22]) if content[end : end + 4] == b"PK\x05\x06" else (0, 0, 1)
    if content[end - 20 : end - 16] == b"PK\x06\x07":  # there is a directory for large files
        end -= 76
        (place,) = struct.unpack("<Q", content[end + 64 : end + 72])
        size, offset = struct.unpack("<QQ", content[end + 40 : end + 56]) if place == end else (0, 0)
    return not comment and offset == start and offset + size == end


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
            if count > MOST_OPERATIONS:
                raise _too_much(path, f"holds a pickle of more than {MOST_OPERATIONS:,} operations")
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
                if max(size, hashed) > LARGEST_VALUE:
                    raise _too_much(path, f"holds a pickle of more than {LARGEST_VALUE:,} values")
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


def damage_error(path: Path) -> UsageError:
    """Return the error for a file that ends too early, or whose parts do not go together."""
    return UsageError(f"cannot read weights from {str(path)!r}: the file is cut short or damaged; fetch it again")
