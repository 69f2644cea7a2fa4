"""What is fetched from a server: where it may send on to, how much may come, and how slowly; none is waited for without an end."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from senet.text import printable

WEB = ("http", "https")

LONGEST_SILENCE = 30.0
"""Seconds without a byte after which a download is given up."""

GRACE = 60.0
"""Seconds in which a server may be slower than `SLOWEST`."""

SLOWEST = 10_000.0
"""Bytes of each further second, on average, that a download has at least."""

LOOKED_EVERY = 0.1
"""Seconds after which it is looked again whether a download is too slow."""

Fetched = TypeVar("Fetched")


class Intake:
    """Count of the bytes that came.

    Args:
        most: how many may come.
        unsaid: how many may have come before any is counted.
    """

    def __init__(self, most: int, unsaid: int = 0) -> None:
        self.most, self.unsaid, self.came, self.given_up = most, unsaid, 0, False
        self._began = time.monotonic()

    def take(self, count: int) -> None:
        """Count further bytes.

        Raises:
            OSError: if they are more than may come, or nobody waits for them any more.
        """
        self.came += count
        if self.came > self.most:
            raise OSError(f"more than {self.most:,} bytes came")
        if self.given_up:
            raise TimeoutError

    @property
    def allowed(self) -> float:
        """Seconds that what came may have taken."""
        return GRACE + max(self.came, self.unsaid) / SLOWEST

    @property
    def is_late(self) -> bool:
        """Whether less came than would have at `SLOWEST`."""
        return time.monotonic() - self._began > self.allowed


def watched(fetch: Callable[[Intake], Fetched], most: int, unsaid: int = 0) -> Fetched:
    """Return what a function fetches that tells an intake of every piece.

    Args:
        fetch: the function; it works in a thread, which goes on by itself until the next piece where this gives up.
        most: how many bytes may come.
        unsaid: how many may come before the function tells of any.

    Raises:
        OSError: if more come, or a TimeoutError if they come too slowly, one by one or not at all; and what the function raises.
    """
    intake, found, failed = Intake(most, unsaid), list[Fetched](), list[BaseException]()

    def work() -> None:
        try:
            found.append(fetch(intake))
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not intake.is_late:
            thread.join(LOOKED_EVERY)
    finally:
        intake.given_up = thread.is_alive()
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"too slow: {intake.came:,} bytes came in {intake.allowed:.0f} seconds")
    return found[0]


def check_redirect(address: str, target: str) -> None:
    """Raise OSError unless a server may send on from one address to another.

    It may not lead from HTTPS to HTTP, to anything else, or from another network into this machine or one beside it.
    """
    before, after = urlsplit(address), urlsplit(target)
    if after.scheme not in WEB or (before.scheme == "https" and after.scheme != "https"):
        reason = f"{printable(after.scheme)!r} is not {before.scheme}"
    elif is_local(after.hostname) and not is_local(before.hostname):
        reason = f"{printable(after.hostname)} is in a network that is not public"
    else:
        return
    raise OSError(f"the server leads to {printable(target)}, which is not followed: {reason}")


def is_local(host: str | None) -> bool:
    """Return whether a name is that of a machine without a public address; one that cannot be looked up is none."""
    with suppress(OSError, ValueError):
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
        return any(not ip_address(address).is_global for address in found)
    return False
