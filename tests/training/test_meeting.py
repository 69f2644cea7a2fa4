"""How long connections to the machine where others meet may be silent."""

import socket

import pytest
from torch._C._distributed_c10d import TCPStore

from senet.training.meeting import limit_silence

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")


def silence(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_connections_to_the_port_and_no_others_are_limited() -> None:
    here = ("127.0.0.1", 0)
    with (
        socket.create_server(here) as server,
        socket.create_server(here) as second,
        socket.create_connection(server.getsockname()) as one,
        socket.create_connection(second.getsockname()) as other,
    ):
        assert limit_silence(server.getsockname()[1], seconds=7) == 1
        assert (silence(one), silence(other)) == (7000, 0)
        one.sendall(b"it is open still")


def test_the_connection_of_torchs_store_is_found() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    assert limit_silence(store.port) == 1
    store.set("key", "value")
    assert store.get("key") == b"value"
