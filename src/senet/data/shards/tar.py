"""One shard: a tar file of images that WebDataset reads too, written with the places of what is in it."""

import os
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from senet.checksum import HashedFile
from senet.data.image_file import SUFFIXES
from senet.data.shards.manifest import StoredFile

NO_SUFFIX = ".img"
"""Suffix of files in a shard whose own name has none that is known: the content says what they are."""


class TarredImage(NamedTuple):
    """One image to be written.

    Args:
        number: of the image in its split, by which its files in the shard are called.
        name: its path, whose suffix is kept.
        content: its file.
        target: its class.
    """

    number: int
    name: bytes
    content: bytes
    target: int


class WrittenShard(NamedTuple):
    """Shard that was written, and where in it each image's file begins and how long it is, in the order of writing."""

    file: StoredFile
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def member_bytes(size: int) -> int:
    """Return how many bytes of a shard an image of so many takes: two headers, its content and its class, in whole blocks."""
    return (3 + -(-size // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE


def write_shard(path: Path, name: str, members: Iterable[TarredImage]) -> WrittenShard:
    """Write a shard: of each image its file, `000000012.jpg`, and its class, `000000012.cls`; the same images give the same bytes.

    Args:
        path: where it is written.
        name: what it will be called.
        members: the images.
    """
    offsets, sizes = [], []
    with path.open("wb") as opened:
        hashed = HashedFile(opened)
        written: Any = hashed  # a file that is only written
        with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member in members:
                key = f"{member.number:09d}"
                offsets.append(_add(tar, key + _suffix(member.name), member.content))
                sizes.append(len(member.content))
                _add(tar, f"{key}.cls", str(member.target).encode())
    return WrittenShard(StoredFile(name, hashed.size, hashed.digest.hexdigest()), tuple(offsets), tuple(sizes))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a file; return where its content begins. Headers of this format are one block long."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    start = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(entry, BytesIO(content))
    return start


def _suffix(name: bytes) -> str:
    suffix = PurePosixPath(os.fsdecode(name)).suffix.lower()
    return suffix if suffix in SUFFIXES else NO_SUFFIX
