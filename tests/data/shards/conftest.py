from collections.abc import Iterator
from pathlib import Path

import pytest

from data.shards.made_folder import make_folder, make_shards
from data.shards.made_server import CountingServer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("images") / "photos")


@pytest.fixture(scope="session")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "out"
    make_shards(folder, out)
    return out


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which what is fetched is kept, by this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "senet" / "shards"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run a server that speaks S3's protocol; return its address."""
    pytest.importorskip("s3fs", reason="extra data is not installed")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server: str, shards: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of the shards in an object store."""
    import fsspec

    environment = {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    system = fsspec.filesystem("s3")
    system.invalidate_cache()
    if not system.exists("photos"):
        system.mkdir("photos")
    for file in shards.iterdir():
        system.put_file(str(file), f"photos/set/{file.name}")
    return "s3://photos/set"


@pytest.fixture
def web(shards: Path) -> Iterator[str]:
    """Return the address of the shards on a web server."""
    with CountingServer(shards) as server:
        yield server.url


@pytest.fixture
def counting(shards: Path) -> Iterator[CountingServer]:
    """Return a web server that has the shards."""
    with CountingServer(shards) as server:
        yield server
