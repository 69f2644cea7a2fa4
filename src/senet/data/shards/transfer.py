"""How bytes come from an object store or a web server: no more than are wanted, and not slower than can be waited for."""

from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urljoin

from senet.errors import UsageError
from senet.text import printable
from senet.web import LONGEST_SILENCE, WEB, Intake, check_redirect, watched

PROTOCOLS = ("s3", "gs", *WEB)
"""What the address of an object store may begin with."""

FETCHED_UNSAID = 2**29
"""Bytes that the libraries of object stores fetch, in several parts at once, before they tell of any."""


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        UsageError: for another kind of address.
        ImportError: if what reads it is not installed.
    """
    protocol = address.partition("://")[0]
    if protocol not in PROTOCOLS or "::" in address:  # fsspec's sign for an address inside another
        raise UsageError(
            f"data.root {printable(address)!r} must be a folder, or begin with one of {', '.join(f'{name}://' for name in PROTOCOLS)}"
        )
    from fsspec.core import url_to_fs

    return url_to_fs(address, **({"get_client": web_client} if protocol in WEB else {}))


def fetch_file(system: Any, path: str, into: Path, most: int) -> None:
    """Fetch a file of at most so many bytes.

    Raises:
        OSError: if it is larger, or comes too slowly; and what the store's library raises.
    """
    watched(lambda intake: system.get_file(path, str(into), callback=_callback(intake)), most, _unsaid(system, most))


def fetch_content(system: Any, path: str, most: int) -> bytes:
    """Return what a file of at most so many bytes holds; raises as `fetch_file` does."""
    with TemporaryDirectory() as folder:
        fetch_file(system, path, Path(folder) / "content", most)
        return (Path(folder) / "content").read_bytes()


def fetch_part(system: Any, path: str, offset: int, size: int) -> bytes:
    """Return a part of a file; raises as `fetch_file` does."""
    part = partial(_web_part if _is_web(system) else _store_part, system, path, offset, size)
    return watched(part, size, _unsaid(system, size)) if size else b""


def _is_web(system: Any) -> bool:
    return "http" in system.protocol


def _unsaid(system: Any, most: int) -> int:
    return 0 if _is_web(system) else min(most, FETCHED_UNSAID)


def _web_part(system: Any, path: str, offset: int, size: int, intake: Intake) -> bytes:
    found = BytesIO()
    system.get_file(path, found, headers={"Range": f"bytes={offset}-{offset + size - 1}"}, callback=_callback(intake))
    return found.getvalue()


def _store_part(system: Any, path: str, offset: int, size: int, intake: Intake) -> bytes:
    return system.cat_file(path, start=offset, end=offset + size)


def _callback(intake: Intake) -> Any:
    from fsspec.callbacks import Callback

    return Callback(hooks={"intake": lambda size, value, **_: intake.take(value - intake.came)})


async def web_client(**options: Any) -> Any:
    """Return a client of web servers that follows no redirect that `check_redirect` refuses, and unpacks nothing."""
    import aiohttp

    async def check(session: Any, context: Any, sent: Any) -> None:
        said = sent.response.headers
        check_redirect(str(sent.url), urljoin(str(sent.url), said.get("Location") or said.get("URI", "")))

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=LONGEST_SILENCE, sock_read=LONGEST_SILENCE)
    headers = {"Accept-Encoding": "identity"}
    return aiohttp.ClientSession(trace_configs=[trace], timeout=timeout, auto_decompress=False, headers=headers, **options)
