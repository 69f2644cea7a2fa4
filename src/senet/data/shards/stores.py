"""Where shards lie: in a folder, or in an object store from which they are fetched into a folder of bounded size."""

import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from weakref import finalize

from senet.atomic import DiskFullError, replacing, temporaries
from senet.checksum import file_sha256
from senet.data.delivery import DataError
from senet.data.kept import arrays_folder, locked, make_room, read_times, room_in_bytes
from senet.data.shards.manifest import StoredFile
from senet.data.shards.transfer import fetch_content, fetch_file, fetch_part, open_address
from senet.errors import UsageError, reason_of

LARGEST_FILE = 2**30
"""Bytes of the largest manifest or index that is read."""

PAUSES = (1.0, 5.0, 20.0)
"""Seconds before each further attempt to fetch what could not be fetched."""

OPEN_SHARDS = 128
"""Shards of folders that stay open, of which each process may have a thousand files or so."""

SHARDS_ROOM = "SENET_SHARDS_GB"
"""Variable of the environment that says how many gigabytes of fetched shards are kept; without it, half of what the disk has for them."""

SHARD_NOTED_EVERY = 30
"""Seconds after which a process notes again that it reads a shard: those that nobody reads go first."""


class ShardPlace(Protocol):
    """Place where the files of a set of shards lie.

    Args:
        name: what errors call it.
        ahead: how many shards are fetched before they are needed; 0 = none, where nothing is fetched as a whole.
    """

    name: str
    ahead: int

    def content(self, file: str) -> bytes:
        """Return a small file as a whole, or raise UsageError."""
        ...

    def read(self, shard: StoredFile, offset: int, size: int) -> bytes:
        """Return a part of a shard, or raise DataError."""
        ...

    def fetch(self, shard: StoredFile) -> None:
        """Fetch a shard as a whole if it is not here, or raise DataError."""
        ...


class ShardFolder:
    """Shards in a folder.

    Args:
        root: the folder.
    """

    ahead = 0

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)

    def content(self, file: str) -> bytes:
        """Return a small file as a whole, or raise UsageError."""
        try:
            with (self.root / file).open("rb") as opened:
                return opened.read(LARGEST_FILE)
        except OSError as error:
            raise UsageError(f"{self.root / file} cannot be read: {error.strerror}; `senet shards build ROOT DIR` writes it") from error

    def read(self, shard: StoredFile, offset: int, size: int) -> bytes:
        """Return a part of a shard, or raise DataError."""
        try:
            opened = _opened(self.name, shard)  # held while it is read: other threads may push it out of those that stay open
            return _exactly(os.pread(opened.number, size, offset), size)
        except OSError as error:
            raise DataError(f"{self.root / shard.file} cannot be read: {reason_of(error)}; bring it back, then resume") from error

    def fetch(self, shard: StoredFile) -> None:
        """Do nothing: shards are here."""

    def check(self, files: tuple[StoredFile, ...]) -> None:
        """Raise UsageError unless all files are there, of the right sizes."""
        for file in files:
            path = self.root / file.file
            found = path.stat().st_size if path.is_file() else None
            if found != file.bytes:
                state = "is missing" if found is None else f"has {found} bytes, and {file.bytes} were written"
                raise UsageError(f"{path} {state}; copy it again, or build the shards again")


@dataclass
class ShardStore:
    """Shards in an object store.

    A shard is fetched as a whole at the first read, checked against its SHA-256, and kept for all processes of this machine; where there is
    no room for one more, those that were read longest ago go. With `whole` false each part is fetched by itself, and nothing is kept.

    Args:
        url: address of the set.
        folder: where fetched shards are kept.
        whole: whether shards are fetched as a whole.
        ahead: how many are fetched before they are needed.
    """

    url: str
    folder: Path
    whole: bool = True
    ahead: int = 0

    def __post_init__(self) -> None:
        self.name = self.url
        self._noted: dict[str, float] = {}

    def content(self, file: str) -> bytes:
        """Return a small file as a whole, or raise UsageError."""
        try:
            return fetch_content(*open_url(f"{self.url}/{file}"), LARGEST_FILE)
        except (FileNotFoundError, PermissionError) as error:
            reason = "is not there" if isinstance(error, FileNotFoundError) else "may not be read"
            raise UsageError(
                f"{self.url}/{file} {reason}; data.root must be the address of shards that `senet shards build` wrote"
            ) from error
        except (UsageError, ImportError):
            raise
        except Exception as error:  # each store's library has errors of its own
            raise UsageError(f"{self.url}/{file} cannot be read: {reason_of(error, 300)}") from error

    def read(self, shard: StoredFile, offset: int, size: int) -> bytes:
        """Return a part of a shard, or raise DataError."""
        if not self.whole:
            return self._patiently(shard, lambda system, path: _exactly(fetch_part(system, path, offset, size), size))
        kept = self.folder / shard.file
        while True:
            try:
                part = part_of(kept, offset, size)
            except FileNotFoundError:  # not fetched yet, or gone again to make room
                self.fetch(shard)
            except OSError as error:
                raise DataError(f"{kept} cannot be read: {reason_of(error)}; remove it, then resume") from error
            else:
                self._note(shard, kept)
                return part

    def fetch(self, shard: StoredFile) -> None:
        """Fetch a shard as a whole if it is not here, or raise DataError; of several processes that ask for it, one fetches it."""
        kept = self.folder / shard.file
        if kept.exists():
            return
        with locked(kept.with_name(f"{kept.name}.lock")) as may_write:
            if not may_write:
                raise DataError(f"{kept.parent} cannot be written, or has no locks; set XDG_CACHE_HOME to another folder, then resume")
            if kept.exists():
                return
            for left in temporaries(self.folder, [shard.file]):  # of a process that was killed
                left.unlink()
            make_room(fetched_shards(), shard.bytes, room_for_shards())

            def into_file(system: Any, path: str) -> bytes:
                with replacing(kept) as temporary:
                    fetch_file(system, path, temporary, shard.bytes)
                    _check_content(temporary, shard)
                return b""

            self._patiently(shard, into_file)

    def _patiently(self, shard: StoredFile, fetch: Callable[[Any, str], bytes]) -> bytes:
        """Fetch something, again after a while where that fails for a reason that may pass."""
        address = f"{self.url}/{shard.file}"
        for pause in (*PAUSES, None):
            try:
                return fetch(*open_url(address))
            except DiskFullError:
                raise
            except Exception as error:  # each store's library has errors of its own
                if pause is None or isinstance(error, FileNotFoundError | PermissionError):
                    raise DataError(f"{address} cannot be fetched: {reason_of(error, 300)}; once it can, resume the run") from error
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _note(self, shard: StoredFile, kept: Path) -> None:
        now = time.monotonic()
        if now - self._noted.get(shard.file, -SHARD_NOTED_EVERY) >= SHARD_NOTED_EVERY:
            self._noted[shard.file] = now
            with suppress(OSError):
                os.utime(kept)


class OpenFile:
    """File that stays open as long as somebody knows it; no read moves a position, so threads and forked processes may share it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)
        finalize(self, os.close, self.number)


@lru_cache(OPEN_SHARDS)
def _opened(root: str, shard: StoredFile) -> OpenFile:
    """Open a shard in a folder; another one under the same name has another checksum."""
    return OpenFile(Path(root, shard.file))


def store_of(url: str, manifest: bytes) -> ShardStore:
    """Return the store of a set of shards with this manifest; another set at the same address has another folder."""
    digest = hashlib.sha256(url.encode() + b"\0" + manifest).hexdigest()[:32]
    return ShardStore(url, fetched_folder() / digest)


def fetched_folder() -> Path:
    """Return where shards that were fetched are kept."""
    return arrays_folder() / "shards"


def open_url(url: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        UsageError: for another kind of address, or if what reads it is not installed.
    """
    try:
        return open_address(url)
    except ImportError as error:
        protocol = url.partition("://")[0]
        raise UsageError(f"{protocol}:// needs a package more: {reason_of(error)}: pip install 'senet[data]'") from error


def part_of(path: Path, offset: int, size: int) -> bytes:
    """Return a part of a file.

    Raises:
        OSError: if it cannot be read, or ends before.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return _exactly(file.read(size) or b"", size)


def room_for_shards() -> int:
    """Return how many bytes of fetched shards are kept.

    Raises:
        UsageError: if the environment says no number.
    """
    said = os.environ.get(SHARDS_ROOM)
    if not said:
        held = sum(size for _, size, _ in fetched_shards())
        there = next(place for place in (fetched_folder(), *fetched_folder().parents) if place.exists())
        return (held + shutil.disk_usage(there).free) // 2
    return room_in_bytes(SHARDS_ROOM, said, " above 0", least=math.ulp(0.0))


def fetched_shards() -> list[tuple[float, int, Path]]:
    """Return what is kept of all sets of shards, see `senet.data.kept.read_times`."""
    return read_times(fetched_folder().glob("*/*.tar"))


def _check_content(path: Path, shard: StoredFile) -> None:
    if (digest := file_sha256(path)) != shard.sha256:
        raise OSError(f"what arrived has the SHA-256 {digest}, and {shard.sha256} was written")


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) > size:  # of a web server
        raise OSError("whole files are sent, and no parts of them")
    if len(content) < size:
        raise OSError(f"it ends {size - len(content)} bytes too early")
    return content
