"""Files of released weights: fetched once, checked against their hash, kept in torch.hub's cache."""

import errno
import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import ContentTooShortError, HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from senet.atomic import replacing
from senet.checksum import file_sha256
from senet.errors import UsageError, reason_of
from senet.terminal import Terminal
from senet.text import printable
from senet.web import LONGEST_SILENCE, Intake, check_redirect, watched

LARGEST_WEIGHTS = 2**34
"""Bytes of the largest file of weights that is fetched."""

ASKED_AT_ONCE = 2**20
"""Bytes that are asked for at a time."""

HTTP_CLIENTS = ("urllib3", "requests", "httpx", "httpcore", "huggingface_hub")
"""What other libraries fetch with; their errors have no base in common."""

UNREACHED = (URLError, ContentTooShortError, HTTPException, ConnectionError, TimeoutError, socket.gaierror)
BAR = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
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
    fix = f"download it by other means to {path}, or name your copy: 'LIBRARY:FILE'"
    with fetching(f"cannot fetch {url}", fix, (OSError,)):
        watched(partial(_download, url, digest, path), LARGEST_WEIGHTS)
    return path


class _Redirects(HTTPRedirectHandler):
    """Handler of redirects that follows those that `check_redirect` lets pass."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        try:
            check_redirect(req.full_url, newurl)
        except OSError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, digest: str, path: Path, intake: Intake) -> None:
    """Fetch a file, and put it in its place if it is the one that was published."""
    found = hashlib.sha256()
    request = Request(url, headers={"User-Agent": "senet"})
    with build_opener(_Redirects()).open(request) as answer, replacing(path) as temporary:
        with temporary.open("wb") as file, shown(path.name, answer.length) as show:
            while piece := answer.read1(ASKED_AT_ONCE):
                intake.take(len(piece))
                show(len(piece))
                found.update(piece)
                file.write(piece)
        if not found.hexdigest().startswith(digest):
            raise OSError(f"what arrived has the SHA-256 {found.hexdigest()}, and {digest}... was published")


@contextmanager
def shown(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how much of a file has come; yield what takes the bytes of each piece."""
    console = Terminal(stderr=True)
    with Progress(*BAR, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield partial(progress.advance, progress.add_task(printable(name), total=total))


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
