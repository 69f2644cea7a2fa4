"""Whether the header of a safetensors file is of a size that is read at once."""

from pathlib import Path

from senet.errors import UsageError

LONGEST_HEADER = 2**24
"""Bytes of a header: names, shapes and places of the tensors, and the metadata."""

MOST_TENSORS = 50_000
"""Tensors of a file: more than any network has."""


def check_header(path: Path) -> None:
    """Raise UsageError if a file begins with a header that would take long to read; whether it is one is for its reader to say."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length <= LONGEST_HEADER:
            check_count(path, file.read(length).count(b'"data_offsets"'))
        elif length < path.stat().st_size:
            raise UsageError(f"{str(path)!r} is not read: its header has {length:,} bytes, and at most {LONGEST_HEADER:,} are read")


def check_count(path: Path, tensors: int) -> None:
    """Raise UsageError if these are more tensors than a file of weights has."""
    if tensors > MOST_TENSORS:
        raise UsageError(f"{str(path)!r} is not read: it has {tensors:,} tensors, and at most {MOST_TENSORS:,} are read")
