"""The Hugging Face hub: weights out of its repositories, files into them. The only module that knows huggingface_hub."""

import logging
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from threading import Thread
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

from senet.errors import Needing, UsageError, reason_of

PREFIX = "hf:"
WEIGHTS = "model.safetensors"
CARD = "README.md"
CONFIG = "config.json"

REPO = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
FILE_SUFFIXES = (".safetensors", ".caffemodel", ".pth", ".pt", ".pt2", ".ckpt", ".bin", ".tar", ".gz", ".zip", ".h5", ".onnx", ".pkl")
"""How names of files end; "runs/best.pth" is not a repository."""

CONNECT_SECONDS = 4.0
"""Seconds in which the hub must take a connection."""

DOWNLOAD = {
    "LocalEntryNotFoundError": "the hub ({host}) cannot be reached, and the cache has no copy ({reason})",
    "ConnectionError": "the hub ({host}) cannot be reached, and the cache has no copy ({reason})",
    "RemoteEntryNotFoundError": f"it has no {WEIGHTS}; download the file that it has, and give its path",
    "RevisionNotFoundError": "it has no such branch, tag or commit; leave the revision out for the newest",
    "GatedRepoError": "its owner lets in those only who asked: ask on its page, then log in by `hf auth login` or set HF_TOKEN",
    "RepositoryNotFoundError": "{host} has no such repository, or it is private: check the name, or log in by `hf auth login`",
    401: "{host} does not accept your token: log in anew by `hf auth login`, or correct HF_TOKEN",
}
UPLOAD = {
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, and uploads need the network; unset it",
    "NetworkError": "the hub ({host}) cannot be reached ({reason}); try again with a connection",
    "ConnectionError": "the hub ({host}) cannot be reached ({reason}); try again with a connection",
    "TimeoutException": "the hub ({host}) does not answer; try again later",
    "LocalTokenNotFoundError": "you are not logged in to {host}: run `hf auth login`, set HF_TOKEN, or give token=",
    401: "you are not logged in to {host}, or your token is not valid: run `hf auth login`, set HF_TOKEN, or give token=",
    403: "you may not write there: the first part must be your user name or organisation, and the token needs write permission",
    "RepositoryNotFoundError": "{host} has no such repository, or your token does not show it",
}
"""Name of an error of huggingface_hub or status of the hub's answer -> what it means to a user; earlier ones win."""

WRAPPERS = ("LocalEntryNotFoundError", "RuntimeError")
"""Errors of huggingface_hub that say less than their cause."""

log = logging.getLogger("senet")


@dataclass(frozen=True)
class HubRepo:
    """Repository of the hub.

    Args:
        name: "USER/REPO".
        revision: branch, tag or commit; None = the newest.
        is_guess: whether the user did not say that it is on the hub.
    """

    name: str
    revision: str | None = None
    is_guess: bool = False

    @classmethod
    def parse(cls, text: str) -> "HubRepo | None":
        """Read "hf:USER/REPO", "hf:USER/REPO@REVISION", or the same without "hf:"; None if the text is the name of a file.

        Raises:
            UsageError: if "hf:" is followed by anything else.
        """
        match = REPO.fullmatch(text.removeprefix(PREFIX))
        if text.startswith(PREFIX):
            if match is None:
                raise UsageError(f"{text!r} names no repository; write '{PREFIX}USER/REPO' or '{PREFIX}USER/REPO@REVISION'")
            return cls(match["name"], match["revision"])
        if match is None or _ends_like_file(text) or Path(text).parent.is_dir():
            return None
        return cls(match["name"], match["revision"], is_guess=True)

    def __str__(self) -> str:
        return PREFIX + self.name + (f"@{self.revision}" if self.revision else "")


def download(repo: HubRepo) -> Path:
    """Return the weights of a repository, from the hub's cache if they have not changed or there is no network.

    Raises:
        UsageError: if huggingface-hub is not installed, or the file cannot be had; the reason is named.
    """
    begin = f"{repo.name!r} is no file here, and as a repository it cannot be fetched" if repo.is_guess else f"cannot fetch {str(repo)!r}"
    with _one_line(begin, DOWNLOAD):
        from huggingface_hub import constants, hf_hub_download

        failure = None if constants.HF_HUB_OFFLINE else failure_to_reach(constants.ENDPOINT)
        if failure is None:
            return Path(hf_hub_download(repo.name, WEIGHTS, revision=repo.revision))
        try:
            return Path(hf_hub_download(repo.name, WEIGHTS, revision=repo.revision, local_files_only=True))
        except FileNotFoundError as error:
            raise failure from error


def failure_to_reach(address: str) -> ConnectionError | None:
    """Return why no connection to a server can be made, within `CONNECT_SECONDS` seconds; None if one can, or if a proxy makes it.

    huggingface_hub tries six times and waits in between, half a minute, which without a network is known at once.
    """
    parts = urlparse(address)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return None
    found: list[ConnectionError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            found.append(None)
        except OSError as error:
            found.append(ConnectionError(str(error)))

    thread = Thread(target=connect, daemon=True)  # looking up a name has no time limit of its own
    thread.start()
    thread.join(CONNECT_SECONDS)
    return found[0] if found else ConnectionError(f"no answer within {CONNECT_SECONDS:g} seconds")


def _ends_like_file(text: str) -> bool:
    """Return whether a name ends like that of a file of weights, or nearly so: "best.safetensor"."""
    suffix = Path(text).suffix  # "model-v1.5" has one too
    return text.endswith(FILE_SUFFIXES) or (len(suffix) > 3 and bool(get_close_matches(suffix, FILE_SUFFIXES, n=1, cutoff=0.75)))


def upload(
    name: str, files: Mapping[str, bytes | Path], *, if_absent: Collection[str] = (), message: str, private: bool, token: str | None
) -> str:
    """Put files into a repository in one commit, making the repository if there is none; return the commit's address.

    Args:
        name: "USER/REPO".
        files: name in the repository -> contents, or the file that has them.
        if_absent: names of files that are written only where the repository has none; the log says so.
        message: the commit's message.
        private: whether a new repository is private.
        token: the user's token; None = that of `hf auth login` or $HF_TOKEN.

    Raises:
        UsageError: if huggingface-hub is not installed, the user is not logged in, may not write there, or the hub cannot be reached.
    """
    match = REPO.fullmatch(name)
    if match is None or match["revision"]:
        raise UsageError(f"{name!r} names no repository; write 'USER/REPO'")
    with _one_line(f"cannot push to {name!r}", UPLOAD):
        from huggingface_hub import CommitOperationAdd, HfApi, constants

        if not constants.HF_HUB_OFFLINE and (failure := failure_to_reach(constants.ENDPOINT)) is not None:
            raise failure
        api = HfApi(token=token)
        api.create_repo(name, private=private, exist_ok=True)
        present = [file for file in if_absent if file in files and api.file_exists(name, file)]
        for file in present:
            log.warning("%s has a %s already, which stays as it is", name, file)
        added = [CommitOperationAdd(file, contents) for file, contents in files.items() if file not in present]
        return str(api.create_commit(name, added, commit_message=message).commit_url)


@contextmanager
def _one_line(begin: str, meanings: Mapping[str | int, str]) -> Iterator[None]:
    """Turn what the hub's library raises into a UsageError: `begin`, and the meaning or else the reason that the error gives."""
    with Needing(f"{begin}: that needs huggingface-hub", "hub"):
        from huggingface_hub import constants
        from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage] - that of its HTTP library
    try:
        yield
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        cause = error.__cause__ if type(error).__name__ in WRAPPERS and error.__cause__ else error
        names = [kind.__name__ for each in (error, cause) for kind in type(each).__mro__]
        found = {*names, getattr(getattr(cause, "response", None), "status_code", None)}
        meaning = next((meaning for key, meaning in meanings.items() if key in found), "{reason}")
        reason = reason_of(cause)
        raise UsageError(f"{begin}: {meaning.format(host=constants.ENDPOINT, reason=reason)}") from error
