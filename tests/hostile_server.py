"""A server that answers as no server should."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

Answer = Callable[[socket.socket, Event], None]
"""Writes to a connection whose request was read; ends when the event is set."""


@contextmanager
def serving(answer: Answer, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a server, each of whose connections is answered so; yield its address."""
    ended = Event()
    with socket.create_server((host, 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(65536)
                answer(connection, ended)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def silent(connection: socket.socket, ended: Event) -> None:
    ended.wait(20)


def dripping(begin: bytes) -> Answer:
    """Return an answer that sends some bytes, and then one after the other."""

    def answer(connection: socket.socket, ended: Event) -> None:
        connection.sendall(begin)
        while not ended.wait(0.02):
            connection.sendall(b"x")

    return answer


def endless(connection: socket.socket, ended: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(bytes(65536))


def leading_to(address: str) -> Answer:
    """Return an answer that sends on to another address."""
    return whole(b"", f"302 Found\r\nLocation: {address}")


def whole(content: bytes, status: str = "200 OK") -> Answer:
    def answer(connection: socket.socket, ended: Event) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)

    return answer


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"

SLOW = {
    "says nothing": silent,
    "drips a status": dripping(b"HTTP/1.1 "),
    "drips headers": dripping(b"HTTP/1.1 200 OK\r\nA: "),
    "drips a body": dripping(ANSWER),
    "drips pieces": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1"),
}
"""What a server does -> how."""
