"""Files of released weights: fetched once, checked against their hash, kept in torch.hub's cache."""

import hashlib
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse

import torch

from senet.errors import UsageError


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=sys.stderr.isatty())
    except (HTTPException, OSError, RuntimeError) as error:  # URLError is an OSError
        if isinstance(error, HTTPError):
            error.close()  # it is an answer too, with a connection
        reason = " ".join(str(error).split())
        raise UsageError(
            f"cannot fetch {url}: {reason}; download it by other means to {path}, or name your copy: 'LIBRARY:FILE'"
        ) from error
    return path


def check_digest(path: Path, digest: str) -> None:
    """Raise UsageError unless the SHA-256 of a file begins with `digest`."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        raise UsageError(f"{path} is damaged: its SHA-256 begins with {found[: len(digest)]}, not {digest}; delete it to fetch it again")
