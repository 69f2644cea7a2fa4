"""A web server gives what is asked for, no more and not for ever."""

import gzip
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.shards.made_folder import open_shards
from hostile_server import SLOW, endless, leading_to, serving, whole
from senet import web
from senet.data.shards.transfer import fetch_content, fetch_file, fetch_part, open_address
from senet.errors import UsageError

pytest.importorskip("aiohttp", reason="extra data is not installed")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(web, "GRACE", 0.5)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 18, "no server ends by itself before"


@pytest.mark.parametrize("what", SLOW)
def test_a_server_that_is_too_slow_is_given_up(what: str, kept: Path) -> None:
    with serving(SLOW[what]) as address, pytest.raises(UsageError, match=r"shards.json cannot be read: (too slow|400)") as raised:
        open_shards(address)
    assert "\n" not in str(raised.value)


def test_a_server_that_does_not_end_is_left(tmp_path: Path) -> None:
    with serving(endless) as address:
        for fetch in (
            lambda: fetch_file(*open_address(f"{address}/x"), tmp_path / "x", 2**20),
            lambda: fetch_content(*open_address(f"{address}/x"), 2**20),
            lambda: fetch_part(*open_address(f"{address}/x"), 5, 2**20),
        ):
            with pytest.raises(OSError, match="more than 1,048,576 bytes came"):
                fetch()


def test_a_part_is_asked_for_as_such() -> None:
    with serving(whole(b"part", "206 Partial Content\r\nContent-Range: bytes 5-8/100")) as address:
        assert fetch_part(*open_address(f"{address}/x"), 5, 4) == b"part"
        assert fetch_part(*open_address(f"{address}/x"), 5, 0) == b""


def test_nothing_is_unpacked_on_the_way() -> None:
    packed = gzip.compress(bytes(2**20))
    with serving(whole(packed, "200 OK\r\nContent-Encoding: gzip")) as address:
        assert fetch_content(*open_address(f"{address}/x"), 2**16) == packed


@pytest.mark.parametrize(
    ("target", "local", "words"),
    [("file:///etc/passwd", False, "'file' is not http"), ("http://127.0.0.1:1/x", True, "127.0.0.1 is in a network that is not public")],
)
def test_redirects_out_of_the_web_or_into_this_machine_are_not_followed(
    target: str, local: bool, words: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([local, False])  # the first asked for is the target
    monkeypatch.setattr(web, "is_local", lambda host: next(answers))
    with serving(leading_to(target)) as address, pytest.raises(UsageError, match=re.escape(words)) as raised:
        open_shards(address)
    assert "which is not followed" in str(raised.value)


def test_redirects_to_another_server_are_followed() -> None:
    with serving(whole(b"there")) as there, serving(leading_to(f"{there}/y")) as address:
        assert fetch_content(*open_address(f"{address}/x"), 100) == b"there"


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://a/x::file:///etc/passwd", "simplecache::http://a/x", "ftp://a/x"])
def test_addresses_of_other_kinds_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must be a folder, or begin with one of s3://, gs://, http://, https://"):
        open_address(address)
