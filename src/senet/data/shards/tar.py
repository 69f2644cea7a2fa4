"""One shard: a tar file of images and their targets that WebDataset reads too, written with the places of what is in it."""

import os
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

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
        target: the file beside it.
    """

    number: int
    name: bytes
    content: bytes
    target: bytes


class WrittenShard(NamedTuple):
    """Shard that was written.

    Args:
        file: the shard.
        places: (n, 4), in the order of writing: where each image's file begins and how long it is, and the same of the file beside it.
    """

    file: StoredFile
    places: tuple[tuple[int, ...], ...]


def member_bytes(sizes: np.ndarray) -> np.ndarray:
    """Return how many bytes of a shard images of so many take: two headers, content and a block for the target, in whole blocks."""
    return (3 + -(-sizes // tarfile.BLOCKSIZE)) * tarfile.BLOCKSIZE


def write_shard(path: Path, name: str, members: Iterable[TarredImage], suffix: str) -> WrittenShard:
    """Write a shard: of each image its file, `000000012.jpg`, and one beside it, `000000012.cls`; the same images give the same bytes.

    Args:
        path: where it is written.
        name: what it will be called.
        members: the images.
        suffix: of the files beside them.
    """
    places = []
    with path.open("wb") as opened:
        hashed = HashedFile(opened)
        written: Any = hashed  # a file that is only written
        with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member in members:
                key = f"{member.number:09d}"
                starts = _add(tar, key + _suffix(member.name), member.content), _add(tar, key + suffix, member.target)
                places.append((starts[0], len(member.content), starts[1], len(member.target)))
    return WrittenShard(StoredFile(name, hashed.size, hashed.digest.hexdigest()), tuple(places))


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
