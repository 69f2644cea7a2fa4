"""Where machines meet: the store that one of them keeps, and how long the others wait for it to answer."""

import socket
from contextlib import suppress
from pathlib import Path

from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

SILENCE = 60
"""Seconds after which a machine that acknowledges nothing is taken for gone."""


def meet(meeting: RendezvousParameters) -> RendezvousHandler:
    """Return torch's handler of a meeting, connected; calls of it fail once the machine that keeps the store is silent."""
    handler = get_rendezvous_handler(meeting)
    limit_silence(int(meeting.endpoint.rpartition(":")[2]))
    return handler


def limit_silence(port: int, seconds: int = SILENCE) -> int:
    """Break connections to a port, once what was sent is not acknowledged for some seconds; return how many there are.

    torch's store asks whether a key is there, and after its own time limit takes the question back; then it waits for the answer to that
    for as long as the connection stands, which is a quarter of an hour where a machine is off. It does not give its socket away.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT"):  # only on Linux
        return 0
    found = 0
    for opened in Path("/dev/fd").iterdir():
        with suppress(OSError):  # closed meanwhile, or not connected
            if opened.is_socket():
                found += _limit(int(opened.name), port, seconds)
    return found


def _limit(descriptor: int, port: int, seconds: int) -> bool:
    """Limit the silence of a socket that is connected to a port, and return whether it is."""
    borrowed = socket.socket(fileno=descriptor)
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.getpeername()[1] != port:
            return False
        borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * seconds)
    finally:
        borrowed.detach()
    return True
