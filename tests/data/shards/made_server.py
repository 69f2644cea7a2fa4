"""A web server of shards."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


class CountingServer(ThreadingHTTPServer):
    """Web server that knows what it was asked for; it fails as often as it is told."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("aiohttp", reason="extra data is not installed")
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.folder, self.url = folder, f"http://127.0.0.1:{self.server_address[1]}"
        self.asked, self.failures = list[str](), 0
        self._thread = Thread(target=self.serve_forever)

    def shards(self) -> list[str]:
        """Return the training shards that were asked for."""
        return [name for name in self.asked if name.startswith("train-")]

    def __enter__(self) -> "CountingServer":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, CountingServer)
        server.asked.append(self.path.lstrip("/"))
        if self.path.endswith(".tar") and server.failures:
            server.failures -= 1
            return self.send_error(503)
        return super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass
