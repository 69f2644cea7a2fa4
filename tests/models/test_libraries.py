"""Networks of other libraries are made without a connection, and a download that fails is one line."""

import errno
import inspect
import socket
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from torch import nn
from torchvision import models

import senet
from senet.cli.main import main
from senet.errors import UsageError
from senet.models import libraries

FETCHING_BY_DEFAULT = (
    *("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    *("retinanet_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"),
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("torch.hub.urlopen", connect)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", FETCHING_BY_DEFAULT)
def test_nothing_is_fetched_that_nobody_asked_for(name: str) -> None:
    with torch.device("meta"):
        assert isinstance(libraries.from_torchvision(name, None, 3, {}), nn.Module)


@pytest.mark.usefixtures("offline")
def test_a_dry_run_needs_no_connection(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["insert", "torchvision/deeplabv3_mobilenet_v3_large", "--dry-run"]) == 0
    assert "blocks in DeepLabV3" in capsys.readouterr().out


def test_no_library_has_another_way_to_ask_for_weights() -> None:
    asked = {name for model in models.list_models() for name in inspect.signature(models.get_model_builder(model)).parameters}
    assert {name for name in asked if "weight" in name or "pretrained" in name} <= libraries.UNFETCHED.keys()


@pytest.mark.usefixtures("offline")
def test_weights_that_were_asked_for_and_cannot_be_fetched_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for options in ({"pretrained": True}, {"weights_backbone": "DEFAULT"}):
        with pytest.raises(
            UsageError, match=r"torchvision/deeplabv3_resnet50 cannot be made, as a download failed: .*no network.*; trained weights"
        ):
            senet.create_model("torchvision/deeplabv3_resnet50", **options)


FAILURES: dict[str, Callable[[], Exception]] = {
    "no server": lambda: URLError("Name or service not known"),
    "an answer that says no": lambda: HTTPError("https://there", 403, "Forbidden", {}, None),  # pyright: ignore[reportArgumentType]
    "no answer": TimeoutError,
    "cut off": lambda: IncompleteRead(b"abc", 10),
    "reset": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "disk full": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "read-only": lambda: OSError(errno.EROFS, "Read-only file system"),
    "another file": lambda: RuntimeError('invalid hash value (expected "a", got "b")'),
    "hub": lambda: LocalEntryNotFoundError("no copy\nin the cache"),
    "hub offline": lambda: OfflineModeIsEnabled("HF_HUB_OFFLINE"),
    "client": lambda: type("ConnectError", (Exception,), {"__module__": "httpx"})("All connection attempts failed"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("library", ["timm/resnet18", "torchvision/resnet18", "{}/own.py:build"])
def test_every_download_that_fails_is_one_line(
    library: str, failure: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> nn.Module:
        raise failure()

    (tmp_path / "own.py").write_text("import timm\n\ndef build():\n    return timm.create_model('resnet18')\n")
    monkeypatch.setattr("timm.create_model", fail)
    monkeypatch.setattr("torchvision.models.get_model", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(UsageError, match=r"cannot be made, as a download failed: .+; trained weights need a connection") as refused:
        senet.create_model(library.format(tmp_path))
    assert "\n" not in str(refused.value)
    assert socket.getdefaulttimeout() == before


def test_trained_weights_that_a_library_does_not_have_are_one_line() -> None:
    with pytest.raises(UsageError, match=r"timm/resnet10t.tv_in1k cannot be made: .*tv_in1k"):
        senet.create_model("timm/resnet10t.tv_in1k", pretrained=True)


def test_other_errors_of_a_users_file_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def build():\n    open('/nonexistent/table.csv')\n")
    with pytest.raises(FileNotFoundError):
        senet.create_model(f"{tmp_path}/own.py:build")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": "IMAGENET1K_V3"}, r"unknown weights of torchvision/resnet18 'IMAGENET1K_V3' \(did you mean 'IMAGENET1K_V1'\?\)"),
        ({"pretrained": "ResNet18_Weights.NONE"}, "unknown weights of torchvision/resnet18 'ResNet18_Weights.NONE'"),
    ],
)
def test_weights_that_are_not_published_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        senet.create_model("torchvision/resnet18", **options)
