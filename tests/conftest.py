"""What tests of several packages need: real data, found in $SENET_TEST_DATA, else in ../shared/data beside the repository; a hub."""

import fcntl
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the processes share the cores already

import numpy as np
import pytest
from PIL import Image

from senet.cli.main import main

if TYPE_CHECKING:
    from oracles.hub_server import HubServer


try:
    from hypothesis import settings
except ImportError:  # what runs on the oldest torch goes without
    pass
else:
    settings.register_profile("busy", deadline=None)  # the default, 0.2 s of the clock a case, is soon over on a busy machine
    settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests run where there is no compiler: the operators then run their definition, and say so."""
    config.addinivalue_line("filterwarnings", "ignore:senet computes without its .* operators:RuntimeWarning")


@pytest.fixture
def definition() -> Iterator[None]:
    """Run every residual tail by its definition, for what must be equal bit by bit to the same operations in another order of calls."""
    from senet import backend

    with backend("reference"):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data, or skip."""
    path = Path(os.environ.get("SENET_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is not there; $SENET_TEST_DATA may name another place")
    return path


@pytest.fixture(scope="session")
def cifar10_root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with all 60,000 images of CIFAR-10 in the canonical files; built once (some seconds) for all test processes."""
    root = _shared_between_processes(tmp_path_factory) / "cifar10"
    with _only_one_process(root):
        if not root.exists():
            sheets = shared_data / "cifar10"
            train = np.concatenate([read_tiles(sheets / f"train_{i}.webp") for i in range(1, 6)])
            val = np.concatenate([read_tiles(sheets / f"test_{part}.webp") for part in "ab"])
            write_cifar10(root, train, np.load(sheets / "labels_train.npy"), val, np.load(sheets / "labels_test.npy"))
    return root


@pytest.fixture(scope="session")
def cifar10_small(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with 2,000 of CIFAR-10's test images in the canonical layout: 5 x 300 for training, 500 for validation."""
    root = tmp_path_factory.mktemp("cifar10_small")
    pixels, labels = read_tiles(shared_data / "cifar10" / "test_a.webp"), np.load(shared_data / "cifar10" / "labels_test.npy")
    write_cifar10(root, pixels[:1500], labels[:1500], pixels[1500:], labels[1500:2000])
    return root


def read_tiles(sheet: Path) -> np.ndarray:
    """Return the 32 x 32 images of a sheet that holds 100 a row: (N, 32, 32, 3) uint8."""
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    rows = pixels.shape[0] // 32
    return pixels.reshape(rows, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)


def write_cifar10(root: Path, train: np.ndarray, train_labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray) -> None:
    """Write images and labels as the files of CIFAR-10 for Python."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files = [("test_batch", val, val_labels)]
    batches = zip(np.split(train, 5), np.split(train_labels, 5), strict=True)
    files += [(f"data_batch_{i}", pixels, labels) for i, (pixels, labels) in enumerate(batches, start=1)]
    contents = {name: {"data": x.transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": y.tolist()} for name, x, y in files}
    for name, content in {**contents, "batches.meta": {"label_names": names}}.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def _shared_between_processes(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def _only_one_process(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[HubServer]":
    """Return a hub on this machine, and huggingface_hub turned to it, with an empty cache and a user who is logged in."""
    import huggingface_hub.constants

    from oracles.hub_server import TOKEN, HubServer

    server = HubServer()
    settings = {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_DISABLE_XET": True,  # its transfers go to other servers
    }
    for name, value in settings.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.stop()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for another machine: nothing was downloaded yet."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another"))
    return tmp_path / "another"


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Forget the kinds of block that a test registers."""
    from senet.spec import KINDS

    before = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(before)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command of wrong words, and returns the one line that it prints."""

    def line(*words: object) -> str:
        assert main(list(map(str, words))) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return line
