"""Released files are fetched once, checked against their hash, and every failure is one line that says what to do."""

import hashlib
import io
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from torch import Tensor

from hostile_server import SLOW, endless, leading_to, serving
from oracles.libraries import oracle
from senet import create_model, web
from senet.errors import UsageError
from senet.weights import remote, source
from senet.weights.releases.library import Library, Release
from senet.weights.remote import fetch

CONTENT = bytes(range(256)) * 64
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]
NAME = f"network-{DIGEST}.pth"


class Server(ThreadingHTTPServer):
    """A server of the files it holds, and a list of what was asked for; a file of None breaks the answer off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes | None] = {}
        self.requests: list[str] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[name]
        if body is None:
            self.wfile.write(b"not HTTP at all\r\n\r\n")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Stay silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "hub" / "checkpoints"


def refused(url: str, digest: str = DIGEST) -> str:
    with pytest.raises(UsageError) as raised:
        fetch(url, digest)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_file_is_fetched_once(server: Server, cache: Path) -> None:
    server.files[NAME] = CONTENT
    for _ in range(3):
        path = fetch(server.url(NAME), DIGEST)
        assert path == cache / NAME
        assert path.read_bytes() == CONTENT
    assert server.requests == [NAME]


def test_what_is_not_the_published_file_is_not_kept(server: Server, cache: Path) -> None:
    server.files[NAME] = b"<html>moved</html>"
    message = refused(server.url(NAME))
    assert DIGEST in message
    assert f"download it by other means to {cache / NAME}" in message
    assert list(cache.iterdir()) == []
    server.files[NAME] = CONTENT
    assert fetch(server.url(NAME), DIGEST).read_bytes() == CONTENT


def test_a_file_that_is_gone(server: Server, cache: Path) -> None:
    message = refused(server.url(NAME))
    assert "404" in message
    assert "name your copy" in message
    assert not (cache / NAME).exists()


def test_a_server_that_is_down(server: Server, cache: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    assert "cannot fetch" in refused(f"http://127.0.0.1:{port}/{NAME}")
    assert not (cache / NAME).exists()


def test_an_answer_that_is_no_http(server: Server, cache: Path) -> None:
    server.files[NAME] = None
    assert "cannot fetch" in refused(server.url(NAME))
    assert not (cache / NAME).exists()


def test_a_server_that_never_answers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LONGEST_SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = refused(f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}")
    assert "cannot fetch" in message
    assert "timed out" in message
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("what", SLOW)
def test_a_server_that_is_too_slow_is_given_up(what: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "GRACE", 0.3)
    began = time.monotonic()
    with serving(SLOW[what]) as address:
        assert "too slow" in refused(f"{address}/{NAME}")
    assert time.monotonic() - began < 18, "no server ends by itself before"


def test_a_server_that_does_not_end_is_left(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LARGEST_WEIGHTS", 2**20)
    with serving(endless) as address:
        assert "more than 1,048,576 bytes came" in refused(f"{address}/{NAME}")
    assert list(cache.iterdir()) == []


def test_a_server_may_lead_to_another_one(server: Server, cache: Path) -> None:
    server.files[NAME] = CONTENT
    with serving(leading_to(server.url(NAME))) as address:
        assert fetch(f"{address}/{NAME}", DIGEST).read_bytes() == CONTENT


def test_a_server_may_not_lead_into_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    with serving(leading_to(server.url(NAME))) as address:
        answers = iter([True, False])  # the first asked for is the target
        monkeypatch.setattr(web, "is_local", lambda host: next(answers))
        assert "is in a network that is not public" in refused(f"{address}/{NAME}")
    assert server.requests == []
    (tmp_path / "secret").write_bytes(CONTENT)
    with serving(leading_to((tmp_path / "secret").as_uri())) as address:
        assert "is not allowed" in refused(f"{address}/{NAME}")


def test_a_cache_that_cannot_be_written(server: Server, cache: Path) -> None:
    cache.parent.parent.write_text("a file where the folder should be")
    assert "cannot fetch" in refused(server.url(NAME))


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT[:-1] + b"?"], ids=["short", "empty", "changed"])
def test_a_damaged_copy_is_not_used(server: Server, cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(content)
    message = refused(server.url(NAME))
    assert "is damaged" in message
    assert "delete it to fetch it again" in message
    assert server.requests == []


def test_a_copy_made_by_other_means_is_used(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT)
    assert fetch(server.url(NAME), DIGEST) == cache / NAME
    assert server.requests == []


def test_a_release_is_fetched_by_its_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = oracle("moskomule", "se_resnet20")
    content, digest = saved(theirs.state_dict())
    (release,) = [r for r in source.PUBLISHERS["moskomule"].releases if r.name == "se_resnet20"]
    name = f"se_resnet20-{digest}.pth"
    served = Release(release.model, release.name, release.rules, release.options, url=server.url(name), digest=digest)
    monkeypatch.setitem(source.PUBLISHERS, "moskomule", Library("moskomule", (served, *source.PUBLISHERS["moskomule"].releases)))
    server.files[name] = content
    for _ in range(2):
        model = create_model("se_cifar_resnet20", weights="moskomule/se_resnet20").eval()
        x = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(model(x), theirs(x), rtol=1e-4, atol=1e-4)
    assert server.requests == [name]


def test_a_release_without_an_address_says_how_to_load_it() -> None:
    with pytest.raises(UsageError, match="give one of your own: 'pytorchcv/seresnet50b:FILE'"):
        create_model("se_resnet50", weights="pytorchcv/seresnet50b")


def saved(state: dict[str, Tensor]) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
