"""Files of released weights: fetched once, checked against their hash, kept in torch.hub's cache."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import ContentTooShortError, HTTPError, URLError
from urllib.parse import urlparse

import torch

from senet.checksum import file_sha256
from senet.errors import UsageError, reason_of

LONGEST_SILENCE = 30.0
"""Seconds without a byte after which a download is given up."""

HTTP_CLIENTS = ("urllib3", "requests", "httpx", "httpcore", "huggingface_hub")
"""What other libraries fetch with; their errors have no base in common."""

UNREACHED = (URLError, ContentTooShortError, HTTPException, ConnectionError, TimeoutError, socket.gaierror)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def fetch(url: str, digest: str) -> Path:
    """Return the local copy of a file, downloading it if there is none.

    Args:
        url: where it is; its last part is the name of the copy.
        digest: the first digits of its SHA-256.

    Raises:
        UsageError: if it cannot be fetched, or is not the file that was published.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists():
        check_digest(path, digest)
        return path
    with fetching(
        f"cannot fetch {url}", f"download it by other means to {path}, or name your copy: 'LIBRARY:FILE'", (OSError, RuntimeError)
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=sys.stderr.isatty())
    return path


@contextmanager
def fetching(begin: str, fix: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn a download that fails, or that stands still, into an error in one line; other errors go through.

    Args:
        begin: what cannot be done.
        fix: what a user can do about it.
        also: further kinds of error that mean a failed download here.

    Raises:
        UsageError: if a server cannot be reached, does not answer, answers otherwise or breaks off, or a disk does not take the file.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LONGEST_SILENCE if before is None else before)
    try:
        yield
    except Exception as error:
        if not (is_failed_download(error) or isinstance(error, also)):
            raise
        if isinstance(error, HTTPError):
            error.close()  # it is an answer too, with a connection
        reason = reason_of(error)
        raise UsageError(f"{begin}: {reason}; {fix}") from error
    finally:
        socket.setdefaulttimeout(before)


def is_failed_download(error: BaseException) -> bool:
    """Return whether an error comes from a network, from what fetches through it, or from a disk that takes no more."""
    if isinstance(error, UNREACHED) or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return True
    if isinstance(error, RuntimeError) and str(error).startswith("invalid hash value"):  # torch.hub's words for a file that broke off
        return True
    return any(kind.__module__.partition(".")[0] in HTTP_CLIENTS for kind in type(error).__mro__)


def check_digest(path: Path, digest: str) -> None:
    """Raise UsageError unless the SHA-256 of a file begins with `digest`."""
    found = file_sha256(path)
    if not found.startswith(digest):
        raise UsageError(f"{path} is damaged: its SHA-256 begins with {found[: len(digest)]}, not {digest}; delete it to fetch it again")
