"""Two hosts on one machine: network namespaces joined by a cable, which can be pulled out. Needs root on Linux."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.launched import SENET, Launched

ADDRESSES = ("10.231.7.1", "10.231.7.2")
NAMED = 'hostname "$1" && shift && exec "$@"'
"""Shell's words that give a host its address as its name, which torch tells the others."""


class Hosts:
    """Two hosts, and what is begun on them in a folder that both see."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = [f"senet{os.getpid()}{letter}" for letter in "ab"]
        self._ends = [name[-15:] for name in self._names]

    def connect(self) -> None:
        """Make both, and the cable between them."""
        for name in self._names:
            ip("netns", "add", name)
        ip("link", "add", self._ends[0], "netns", self._names[0], "type", "veth", "peer", "name", self._ends[1], "netns", self._names[1])
        for name, end, address in zip(self._names, self._ends, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", end, "up")

    def begin(self, host: int, *words: str) -> Launched:
        """Begin `senet train WORDS` on a host, which is one process there, as the same on the other; return its launcher."""
        there = ("--nodes", "2", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400")
        prefix = ("ip", "netns", "exec", self._names[host], "unshare", "--uts", "sh", "-c", NAMED, "sh", ADDRESSES[host])
        variables = {"GLOO_SOCKET_IFNAME": self._ends[host]}
        return Launched(self._root, [*SENET, *words, *there], variables=variables, prefix=prefix, told=f"told{host}")

    def plug(self, where: str) -> None:
        """Pull the cable out of the second host ("down"), or put it back ("up")."""
        ip("-n", self._names[1], "link", "set", self._ends[1], where)

    def remove(self) -> None:
        """Take both away."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextmanager
def two_hosts(root: Path) -> Iterator[Hosts]:
    """Yield two hosts that are joined; skip the test where they cannot be made."""
    if shutil.which("ip") is None or subprocess.run(["unshare", "--net", "--uts", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a process may not make network namespaces here")
    hosts = Hosts(root)
    try:
        hosts.connect()
        yield hosts
    finally:
        hosts.remove()


def ip(*words: str) -> None:
    """Set the network up with the program of this name."""
    subprocess.run(["ip", *words], check=True, capture_output=True)
