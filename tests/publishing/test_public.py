"""Nothing that is published says where things lie on the user's machine."""

from pathlib import Path

import pytest

import senet
from oracles.hub_server import HubServer
from senet.publishing.public import public, public_recipe, public_text
from senet.weights.store import read_metadata

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own uploads


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/net.pth", "net.pth"),
        ("~/net.pth", "net.pth"),
        ("../secret/net.pth", "net.pth"),
        ("C:\\Users\\me\\net.pth", "net.pth"),
        ("caffe:/home/me/SE-ResNet-50.caffemodel", "caffe:SE-ResNet-50.caffemodel"),
        ("timm/resnet50:/home/me/net.pth", "timm/resnet50:net.pth"),
        ("/home/me/tasks.py:create", "tasks.py:create"),
        ("project/tasks.py:create", "tasks.py:create"),
    ],
)
def test_of_a_path_the_last_part_is_told(text: str, told: str) -> None:
    assert public_text(text) == told
    assert public({"a": [text, {"b": text}], "c": 3}) == {"a": [told, {"b": told}], "c": 3}


@pytest.mark.parametrize(
    "text", ["", "se", "timm/resnet50", "hf:user/net@main", "https://host/path/x.pth", "uoft-cs/cifar10", "a: b / c", "1/2"]
)
def test_other_text_stays(text: str) -> None:
    assert public_text(text) == text


def test_a_recipe_is_told_without_its_images() -> None:
    recipe = {
        "name": "mine",
        "task": "/me/t.py:f",
        "data": {"name": "/me/d.py:g", "root": "images"},
        "model": {"options": {"weights": "/me/w"}},
    }
    told = {"name": "mine", "task": "t.py:f", "data": {"name": "d.py:g", "root": None}, "model": {"options": {"weights": "w"}}}
    assert public_recipe(recipe) == told
    assert public_recipe(None) is None


def test_no_file_of_a_repository_holds_a_local_path(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "own_eca.py").write_text((Path(__file__).parents[1] / "blocks" / "eca.py").read_text())
    kind = f"{tmp_path}/own_eca.py:ECA"
    model = senet.create_model("cifar_resnet20", num_classes=3, block=kind)
    recipe = {"name": "mine", "task": f"{tmp_path}/task.py:make", "data": {"root": str(tmp_path)}, "model": {"block": kind}}
    senet.push_to_hub(model, "user/net", recipe=recipe, extra={"converted_from": f"caffe:{tmp_path}/x.caffemodel"})
    for name, content in hub.files("user/net").items():
        assert str(tmp_path).encode() not in content, name
    assert model.config.to_dict()["options"]["block"]["kind"] == kind
    senet.save_weights(model, tmp_path / "own.safetensors")
    assert read_metadata(tmp_path / "own.safetensors").model["options"]["block"]["kind"] == kind
