"""`senet convert` on real files of other libraries: what it writes, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import senet
from oracles.weights import draw
from senet.cli.main import main
from senet.weights.store import metadata_of, read_metadata


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    return draw(timm.create_model("legacy_seresnext50_32x4d", num_classes=5), last=r"bn3$", projection=r"downsample\.1$").eval()


@pytest.fixture(scope="module")
def file(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save(theirs.state_dict(), path)
    return str(path)


def test_the_network_is_found_out(theirs: torch.nn.Module, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "converted.safetensors"
    assert main(["convert", file, "--to", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["classes"]) == ("se_resnext50_32x4d", None)
    assert said["parameters"] == sum(p.numel() for p in theirs.parameters())
    model = senet.from_pretrained(target)
    x = torch.randn(2, 3, 97, 97)
    torch.testing.assert_close(model(x), theirs(x))
    assert read_metadata(target).extra["converted_from"] == "network.pth"
    assert file.rpartition("/")[0].encode() not in target.read_bytes()


def test_class_names_travel_to_predictions(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\ndog\nelk\n")
    target, photo = tmp_path / "converted.safetensors", tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 260, 3), np.uint8)).save(photo)
    assert main(["convert", f"timm:{file}", "--to", str(target), "--classes", str(names)]) == 0
    assert "5: ant ... elk" in capsys.readouterr().out
    assert main(["predict", "--weights", str(target), "--json", str(photo)]) == 0
    named = json.loads(capsys.readouterr().out)["predictions"][0]["guesses"]
    assert {guess["name"] for guess in named} == {"ant", "bee", "cat", "dog", "elk"}
    assert main(["predict", "--weights", f"timm:{file}", "--json", str(photo)]) == 0
    numbered = json.loads(capsys.readouterr().out)["predictions"][0]["guesses"]
    assert [guess["probability"] for guess in numbered] == [guess["probability"] for guess in named]


def test_files_that_do_not_tell_need_a_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    bare, target = tmp_path / "bare.pth", tmp_path / "out.safetensors"
    own = senet.create_model("se_preresnet20", num_classes=3)
    torch.save(own.state_dict(), bare)
    assert "does not say which network it fits" in refused("convert", bare, "--to", target)
    assert main(["convert", str(bare), "--to", str(target), "--model", "se_preresnet20", "--num-classes", "3"]) == 0
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(senet.from_pretrained(target)(x), own.eval()(x))


def test_folded_input_sees_the_same_images(file: str, tmp_path: Path) -> None:
    target = tmp_path / "folded.safetensors"
    assert main(["convert", file, "--to", str(target), "--input", "rgb"]) == 0
    folded, original = senet.from_pretrained(target), senet.from_pretrained(file)
    spec = metadata_of(folded).input
    assert spec is not None
    assert spec.std == (1.0, 1.0, 1.0)
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(folded(image - torch.tensor(spec.mean).view(3, 1, 1)), original((image - mean) / std), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}", "--to", "{there}"], "exists; --force writes over it"),
        (["{file}", "--to", "out.pth"], "must name a .safetensors file"),
        (["{file}", "--to", "out.safetensors", "--num-classes", "5"], "--num-classes needs --model"),
        (["nowhere.pth", "--to", "out.safetensors"], "'nowhere.pth' does not exist"),
        (["timm/legacy_seresnet51", "--to", "out.safetensors"], "did you mean 'legacy_seresnet"),
        (["{file}", "--to", "out.safetensors", "--classes", "{there}"], "classes, and the network has 5"),
        (["{file}", "--to", "out.safetensors", "--model", "se_resnet50"], "does not fit this network"),
        (["{file}", "--to", "out.safetensors", "--model", "se_resnet5"], "did you mean 'se_resnet50'"),
    ],
)
def test_refusals(words: list[str], message: str, file: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    there = tmp_path / "there.safetensors"
    there.write_text("one\n")
    filled = [word.format(file=file, there=there) for word in words]
    assert message in refused("convert", *filled)
    assert there.read_text() == "one\n"
    assert not Path("out.safetensors").exists()


def test_the_command_takes_entries(tmp_path: Path) -> None:
    first, second = senet.create_model("se_preresnet20"), senet.create_model("se_preresnet20")
    torch.save({"model": first.state_dict(), "model_ema": second.state_dict()}, tmp_path / "a.pth")
    target = tmp_path / "a.safetensors"
    assert main(["convert", f"{tmp_path / 'a.pth'}#model", "--model", "se_preresnet20", "--to", str(target)]) == 0
    loaded = senet.from_pretrained(target).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in first.state_dict().items())
