"""Servers are not waited for without an end, send no more than is wanted, and lead nowhere else."""

import time
from threading import Event

import pytest

from senet import web
from senet.web import Intake, check_redirect, is_local, watched

LOCAL = {
    "127.0.0.1": True,
    "169.254.169.254": True,
    "10.1.2.3": True,
    "192.168.0.1": True,
    "::1": True,
    "8.8.8.8": False,
    "no.invalid": False,
}


@pytest.mark.parametrize("host", LOCAL)
def test_machines_without_a_public_address_are_known(host: str) -> None:
    assert is_local(host) is LOCAL[host]


@pytest.mark.parametrize(
    ("address", "target", "words"),
    [
        ("https://a.example/x", "https://b.example/y", None),
        ("http://a.example/x", "https://b.example/y", None),
        ("https://a.example/x", "http://a.example/x", "'http' is not https"),
        ("https://a.example/x", "file:///etc/passwd", "'file' is not https"),
        ("http://a.example/x", "ftp://a.example/x", "'ftp' is not http"),
        ("http://a.example/x", "data:text/plain,x", "'data' is not http"),
        ("http://8.8.8.8/x", "http://127.0.0.1:80/x", "127.0.0.1 is in a network that is not public"),
        ("http://8.8.8.8/x", "http://169.254.169.254/latest", "169.254.169.254 is in a network that is not public"),
        ("http://8.8.8.8/x", "http://[::1]/", "::1 is in a network that is not public"),
        ("http://127.0.0.1/x", "http://127.0.0.1/y", None),
    ],
)
def test_where_a_server_may_lead(address: str, target: str, words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "is_local", lambda host: LOCAL.get(host or "", False))
    if words is None:
        check_redirect(address, target)
    else:
        with pytest.raises(OSError, match="which is not followed") as raised:
            check_redirect(address, target)
        assert str(raised.value).endswith(words)


def test_what_is_fetched_in_time_is_returned_and_errors_are_raised() -> None:
    assert watched(lambda intake: intake.take(3) or "three", 3) == "three"
    with pytest.raises(OSError, match="more than 3 bytes came"):
        watched(lambda intake: intake.take(4), 3)
    with pytest.raises(KeyError):
        watched(lambda intake: {}["x"], 3)


def test_a_fetch_that_is_too_slow_is_given_up_and_ends_at_its_next_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "GRACE", 0.2)
    ended = Event()

    def slow(intake: Intake) -> None:
        try:
            while True:
                time.sleep(0.05)
                intake.take(1)
        finally:
            ended.set()

    with pytest.raises(TimeoutError, match="too slow: "):
        watched(slow, 1000)
    assert ended.wait(30)
