"""SHA256SUMS of a finished run's small files, as `sha256sum --check` reads it too. Checkpoint and weights hold checksums of their own."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from senet.atomic import write_text
from senet.errors import UsageError

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\w[\w.]*)")


def write_sums(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the checksum of each file of a folder; `contents` maps its name to what is in it."""
    write_text(folder / SUMS, "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()))


def check_sums(folder: Path) -> None:
    """Raise UsageError if a file is missing or not what it was when `write_sums` was called; without SHA256SUMS nothing is known."""
    path = folder / SUMS
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise UsageError(f"{path} is damaged: it holds lines of a checksum and a name only")
        digest, name = found.groups()
        if not (folder / name).is_file():
            raise UsageError(f"{folder / name} is missing")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise UsageError(f"{folder / name} is not what the run wrote, by its checksum in {SUMS}")
