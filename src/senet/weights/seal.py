"""A checksum inside a safetensors file, of all else that the file says: any program reads the file as before, this package checks it."""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

from senet.errors import UsageError

KEY = "sha256"
"""The metadata's key: SHA-256 of the header without it, as JSON with sorted keys and no spaces, and of the bytes behind the header."""

LENGTH = 8
"""Bytes before the header: its length, little-endian. Headers end with spaces, so that tensors begin at a multiple of this, too."""

BLOCK = 2**20


def write_sealed(path: Path, content: bytes) -> None:
    """Write a safetensors file together with its checksum."""
    end = LENGTH + int.from_bytes(content[:LENGTH], "little")
    header, tensors = json.loads(content[LENGTH:end]), memoryview(content)[end:]
    digest = _begun(header)
    digest.update(tensors)
    header["__metadata__"] = {**header.get("__metadata__", {}), KEY: digest.hexdigest()}
    written = json.dumps(header, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    written += b" " * (-len(written) % LENGTH)
    with path.open("wb") as file:
        file.write(len(written).to_bytes(LENGTH, "little"))
        file.write(written)
        file.write(tensors)


def check_sealed(path: Path) -> None:
    """Raise UsageError if a safetensors file, whose form is right, carries a checksum that is not its own."""
    with path.open("rb") as file:
        header = _header(file)
        sealed = header.get("__metadata__", {}).pop(KEY, None)
        if sealed is None:
            return
        digest = _begun(header)
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != sealed:
        raise UsageError(
            f"{str(path)!r} is damaged: it is not what was written, by its checksum; restore it from a copy or train it again "
            f"(a program that rewrote it on purpose must leave out {KEY!r} of its metadata)"
        )


def _header(file: BinaryIO) -> dict[str, Any]:
    return json.loads(file.read(int.from_bytes(file.read(LENGTH), "little")))


def _begun(header: dict[str, Any]) -> Any:
    return hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False, separators=(",", ":")).encode())
