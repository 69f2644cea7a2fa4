"""A line behind a file of `torch.save` with the checksum of all bytes before it: readers of such files look for their directory from behind
and pass over it.
"""

import hashlib
import re
from pathlib import Path

TRAILER = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
TRAILER_BYTES = 1 + len("sha256 ") + 64 + 1


def trailer(digest: str) -> bytes:
    """Return the line for a digest in hexadecimal digits."""
    return f"\nsha256 {digest}\n".encode()


def trailer_length(end: bytes) -> int:
    """Return how many of a file's last bytes are such a line."""
    return TRAILER_BYTES if TRAILER.fullmatch(end[-TRAILER_BYTES:]) else 0


def is_as_written(path: Path) -> bool | None:
    """Return whether the checksum behind a file is that of the bytes before it; None if there is none."""
    left = path.stat().st_size - TRAILER_BYTES
    if left < 0:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(left)
        found = TRAILER.fullmatch(file.read())
        if found is None:
            return None
        file.seek(0)
        while block := file.read(min(left, 2**20)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest().encode() == found[1]
