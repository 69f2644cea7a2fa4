"""Networks go to the hub and come back the same, and what stands in the way is said in one line."""

import json
import logging
import socket
import sys
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from oracles.hub_server import HubServer
from senet import create_model, from_pretrained, insert, load_weights, push_to_hub, save_weights
from senet.cli.main import main
from senet.errors import UsageError
from senet.models.create import config_of
from senet.spec import BlockSpec, InputSpec
from senet.weights.hub import HubRepo, failure_to_reach
from senet.weights.store import metadata_of

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own uploads

CLASSES = ("cat", "dog", "eel")
INPUT = InputSpec(size=16, resize=20, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
RECIPE = {"name": "mine", "data": {"name": "folder", "root": "/home/user/images"}}
PUBLISHED = {"name": "mine", "data": {"name": "folder", "root": None}}


def network(seed: int = 0, name: str = "se_cifar_resnet20", **options) -> nn.Module:
    torch.manual_seed(seed)
    model = create_model(name, num_classes=3, **options)
    return model.eval()


def head(model: nn.Module) -> Tensor:
    return model.get_parameter("fc.weight")


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_a_network_comes_back_the_same(hub: HubServer) -> None:
    model = network(
        name="cifar_resnet20", block=BlockSpec(reduction={1: 2, 2: 4, 3: 8}, gate="hard_sigmoid"), placement="pre", stages=(1, 3)
    )
    address = push_to_hub(model, "user/net", classes=CLASSES, input=INPUT, recipe=RECIPE, extra={"val_top1": 91.5}, message="first")
    name, message, files = hub.repos["user/net"].commits[-1]
    assert address == f"{hub.url}/user/net/commit/{name}"
    assert message == "first"
    assert {"model.safetensors", "config.json", "README.md"} < files.keys()
    again = from_pretrained("user/net")
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(images), model(images))
    assert config_of(again) == config_of(model)
    assert not again.training
    metadata = metadata_of(again)
    assert (metadata.classes, metadata.input, metadata.extra) == (CLASSES, INPUT, {"val_top1": 91.5})
    assert metadata.recipe == PUBLISHED
    assert b"/home/user" not in b"".join(files.values())


def test_config_json_says_what_the_network_is(hub: HubServer) -> None:
    model = network()
    push_to_hub(model, "user/net", input=INPUT, card=False)
    config = json.loads(hub.files("user/net")["config.json"])
    assert config["model"] == json.loads(json.dumps(config_of(model).to_dict()))
    assert config["input"]["mean"] == [0.4, 0.5, 0.6]


def test_inserted_blocks_come_back(hub: HubServer) -> None:
    model = network(name="torchvision/resnet18")
    insert(model, "se", stages=(5,))
    push_to_hub(model, "user/net")
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(from_pretrained("user/net")(images), model.eval()(images))
    assert b"inserted at 2 places" in hub.files("user/net")["README.md"]


@pytest.mark.parametrize("source", ["user/net", "hf:user/net", "hf:user/net@main"])
def test_wherever_weights_are_named(hub: HubServer, source: str) -> None:
    model = network(0)
    push_to_hub(model, "hf:user/net", card=False)
    loaded, created = network(1), create_model("se_cifar_resnet20", num_classes=3, weights=source)
    assert load_weights(loaded, source).source == source
    for other in (loaded, created):
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())


def test_files_of_other_libraries(hub: HubServer) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("legacy_seresnet50", num_classes=3).eval()
    push_to_hub(network(), "user/timm", card=False)
    hub.files("user/timm")["model.safetensors"] = save(theirs.state_dict())
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(from_pretrained("hf:user/timm")(images), theirs(images))


def test_the_command_names_what_is_in_an_image(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push_to_hub(network(), "user/net", classes=CLASSES, input=INPUT, card=False)
    Image.new("RGB", (24, 20), (200, 30, 60)).save(tmp_path / "red.png")
    assert main(["predict", str(tmp_path / "red.png"), "--weights", "user/net", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in CLASSES)


def test_revisions(hub: HubServer) -> None:
    networks = [network(seed) for seed in (0, 1)]
    first, second = [push_to_hub(model, "user/net", card=False).rpartition("/")[2] for model in networks]
    for source, model in {f"hf:user/net@{first}": networks[0], f"user/net@{second}": networks[1], "user/net": networks[1]}.items():
        assert torch.equal(head(from_pretrained(source)), head(model)), source


def test_the_file_is_fetched_once(hub: HubServer) -> None:
    push_to_hub(network(), "user/net", card=False)
    hub.requests.clear()
    from_pretrained("user/net")
    from_pretrained("user/net")
    asked = [request for request in hub.requests if "/resolve/" in request]
    assert asked == [f"{method} /user/net/resolve/main/model.safetensors" for method in ("HEAD", "GET", "HEAD")]


def test_a_filled_cache_needs_no_network(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    push_to_hub(model, "user/net", card=False)
    from_pretrained("user/net")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    hub.requests.clear()
    assert torch.equal(head(from_pretrained("user/net")), head(model))
    assert hub.requests == []


@pytest.mark.usefixtures("empty_cache")
def test_without_network_and_cache(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(UsageError, match=rf"cannot fetch 'hf:user/net': the hub \({hub.url}\) cannot be reached, and .* no copy") as error:
        from_pretrained("hf:user/net")
    assert "HF_HUB_OFFLINE" in one_line(error)
    with pytest.raises(UsageError, match="cannot push to 'user/net': HF_HUB_OFFLINE is set, and uploads need the network"):
        push_to_hub(network(), "user/net", card=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:user/none", "cannot fetch 'hf:user/none': .* has no such repository, or it is private: check the name, or log in"),
        ("user/none", "'user/none' is no file here, and as a repository it cannot be fetched: .* has no such repository"),
        ("hf:user/net@v2", "cannot fetch 'hf:user/net@v2': it has no such branch, tag or commit"),
        ("hf:user/bare", "it has no model.safetensors; download the file that it has"),
        ("hf:user--/net", "cannot fetch 'hf:user--/net': "),
    ],
)
def test_what_cannot_be_fetched(hub: HubServer, source: str, message: str) -> None:
    push_to_hub(network(), "user/net", card=False)
    push_to_hub(network(), "user/bare", card=False)
    hub.files("user/bare").pop("model.safetensors")
    with pytest.raises(UsageError, match=message) as error:
        from_pretrained(source)
    one_line(error)


def test_private_repositories(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    push_to_hub(network(), "user/open", card=False)
    push_to_hub(network(), "user/net", private=True, card=False)
    assert (hub.repos["user/open"].visibility, hub.repos["user/net"].visibility) == ("public", "private")
    assert from_pretrained("user/net")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", f"{huggingface_hub.constants.HF_HUB_CACHE}-of-another")
    with pytest.raises(UsageError, match="no such repository, or it is private"):
        from_pretrained("user/net")


@pytest.mark.parametrize(
    ("repo", "options", "message"),
    [
        ("user/net", {"token": "hf_wrong"}, "cannot push to 'user/net': you are not logged in to .*, or your token is not valid: run"),
        ("another/net", {}, "cannot push to 'another/net': you may not write there: the first part must be your user name"),
        ("net", {}, "'net' names no repository; write 'USER/REPO'"),
        ("user/net@main", {}, "'user/net@main' names no repository"),
    ],
)
def test_what_cannot_be_pushed(hub: HubServer, repo: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        push_to_hub(network(), repo, **options, card=False)
    one_line(error)
    assert hub.repos == {}


def test_no_login(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match=r"you are not logged in to .*: run `hf auth login`, set HF_TOKEN, or give token="):
        push_to_hub(network(), "user/net", card=False)


def test_no_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.server_close()
    with pytest.raises(UsageError, match=rf"cannot push to 'user/net': the hub \({hub.url}\) cannot be reached") as error:
        push_to_hub(network(), "user/net", card=False)
    one_line(error)


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("source", ["user/net", "hf:user/net", "runs/bst"])
def test_a_hub_that_is_not_there_is_known_at_once(hub: HubServer, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.shutdown()
    hub.server_close()
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"the hub \(.*\) cannot be reached, and the cache has no copy") as error:
        from_pretrained(source)
    one_line(error)
    assert time.monotonic() - began < 15  # huggingface_hub alone would try for half a minute


def test_a_hub_that_is_not_there_is_no_loss_with_a_copy(hub: HubServer) -> None:
    model = network()
    push_to_hub(model, "user/net", card=False)
    from_pretrained("user/net")
    hub.shutdown()
    hub.server_close()
    assert torch.equal(head(from_pretrained("user/net")), head(model))


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.weights.hub.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("socket.create_connection", lambda *args: time.sleep(1) or socket.socket())
    assert "no answer within 0.2 seconds" in str(failure_to_reach("https://huggingface.invalid"))


def test_a_proxy_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert failure_to_reach("https://huggingface.invalid") is None


@pytest.mark.parametrize("name", ["best.safetensor", "runs/x.pht", "net.pt2", "runs/best.safetensors.gz", "x/y/z"])
def test_names_of_files_are_no_repositories(name: str) -> None:
    assert HubRepo.parse(name) is None


@pytest.mark.parametrize("name", ["timm/resnet50.a1_in1k", "user/net-v1.5", "user/model_2.0"])
def test_names_of_repositories_are_no_files(name: str) -> None:
    assert HubRepo.parse(name) is not None


@pytest.mark.parametrize(
    "call", [lambda: from_pretrained("user/net"), lambda: push_to_hub(network(), "user/net", card=False)], ids=["fetch", "push"]
)
def test_no_library(monkeypatch: pytest.MonkeyPatch, call) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"that needs huggingface-hub: pip install 'senet\[hub\]'"):
        call()


def test_only_networks_that_can_be_built_again(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing says how to build this Conv2d again: push a network that create_model made"):
        push_to_hub(nn.Conv2d(3, 4, 1), "user/net")
    (tmp_path / "own.py").write_text("from torch import nn\ndef build(): return nn.Sequential(nn.Conv2d(3, 4, 1))\n")
    with pytest.raises(UsageError, match=r"own.py:build' is code of yours, which weights do not carry"):
        push_to_hub(create_model(f"{tmp_path}/own.py:build"), "user/net", card=False)
    rule = network(name="cifar_resnet20", block=lambda stage, index, channels: BlockSpec() if index else None)
    with pytest.raises(UsageError, match="a block that is a function cannot be saved"):
        push_to_hub(rule, "user/net", card=False)


def test_a_card_is_not_overwritten_silently(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    push_to_hub(network(0), "user/net")
    hub.commit("user/net", "by hand", {"README.md": b"words of its owner"})
    with caplog.at_level(logging.WARNING, logger="senet"):
        push_to_hub(network(1), "user/net")
    assert caplog.messages == ["user/net has a README.md already, which stays as it is"]
    assert hub.files("user/net")["README.md"] == b"words of its owner"
    assert torch.equal(head(from_pretrained("user/net")), head(network(1)))
    push_to_hub(network(1), "user/net", card="replace")
    assert b"library_name: senet" in hub.files("user/net")["README.md"]


def test_without_a_card(hub: HubServer) -> None:
    push_to_hub(network(), "user/net", card=False)
    assert hub.files("user/net").keys() == {".gitattributes", "model.safetensors", "config.json"}


def test_numbers_travel_with_the_weights_that_they_were_measured_on(hub: HubServer, tmp_path: Path) -> None:
    save_weights(network(), tmp_path / "w.safetensors", classes=CLASSES, input=INPUT, recipe=RECIPE, extra={"val_top1": 91.5})
    model = from_pretrained(tmp_path / "w.safetensors")
    push_to_hub(model, "user/same")
    same = metadata_of(from_pretrained("user/same"))
    assert (same.classes, same.recipe, same.extra) == (CLASSES, PUBLISHED, {"val_top1": 91.5})
    with torch.no_grad():
        model.get_parameter("fc.bias").add_(1)
    push_to_hub(model, "user/other")
    other = metadata_of(from_pretrained("user/other"))
    assert (other.classes, other.input, other.recipe, other.extra) == (CLASSES, INPUT, None, {})
    assert b"91.5" in hub.files("user/same")["README.md"]
    assert b"91.5" not in hub.files("user/other")["README.md"]


@pytest.mark.parametrize(
    ("text", "repo"),
    [
        ("user/net", HubRepo("user/net", is_guess=True)),
        ("user/net-v1.0", HubRepo("user/net-v1.0", is_guess=True)),
        ("user/net@v1", HubRepo("user/net", "v1", is_guess=True)),
        ("hf:user/net", HubRepo("user/net")),
        ("hf:user/net@refs/pr/1", HubRepo("user/net", "refs/pr/1")),
        ("hf:here/best.pth", HubRepo("here/best.pth")),
        ("here/net", None),
        ("runs/best.safetensors", None),
        ("runs/best.pth", None),
        ("/user/net", None),
        ("./net", None),
        ("~/net", None),
        ("../net", None),
        ("runs/a/b", None),
        ("net", None),
    ],
)
def test_what_names_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, repo: HubRepo | None) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert HubRepo.parse(text) == repo


@pytest.mark.parametrize("text", ["hf:net", "hf:user/net@", "hf:user/net:file.pth", "hf:", "hf:a/b/c"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(UsageError, match="names no repository; write 'hf:USER/REPO' or 'hf:USER/REPO@REVISION'"):
        from_pretrained(text)


def test_files_come_before_repositories(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user").mkdir()
    monkeypatch.chdir(tmp_path)
    save_weights(network(0), tmp_path / "user" / "net")
    push_to_hub(network(1), "user/net", card=False)
    assert torch.equal(head(from_pretrained("user/net")), head(network(0)))
    assert torch.equal(head(from_pretrained("hf:user/net")), head(network(1)))
