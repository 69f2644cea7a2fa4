"""Reading all shards of a folder to see that they are what was written."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from senet.checksum import file_sha256
from senet.data.image_tree import few
from senet.data.shards.manifest import MANIFEST, Manifest, read_manifest
from senet.data.shards.stores import ShardFolder
from senet.data.workers import reading_threads
from senet.errors import UsageError


def check_shards(folder: Path, *, workers: int | None = None, watch: Callable[[int, int], object] = lambda done, of: None) -> Manifest:
    """Read all files of a set of shards and compare their SHA-256; return its manifest.

    Args:
        folder: where they lie.
        workers: how many files are read at a time; None = one for each processor, at most 8.
        watch: told after each file how many were read, and of how many.

    Raises:
        UsageError: if files are missing or are not what was written; it names them.
    """
    place = ShardFolder(folder)
    manifest = read_manifest(place.content(MANIFEST), str(folder / MANIFEST))
    place.check(manifest.files)
    wrong = []
    with ThreadPoolExecutor(workers or reading_threads()) as pool:
        digests = pool.map(lambda file: file_sha256(folder / file.file), manifest.files)
        for done, (file, digest) in enumerate(zip(manifest.files, digests, strict=True), 1):
            watch(done, len(manifest.files))
            wrong += [] if digest == file.sha256 else [file.file]
    if wrong:
        raise UsageError(f"{folder}: {len(wrong)} of {len(manifest.files)} files are not what was written: {few(wrong)}; copy them again")
    return manifest
