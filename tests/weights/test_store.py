"""Weights come back bit for bit, say what they are, and refuse what does not fit."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from senet.errors import UsageError
from senet.models.create import create_model, from_pretrained
from senet.spec import BlockSpec, InputSpec
from senet.weights.load import load_weights
from senet.weights.store import read_metadata, save_weights

INPUT = InputSpec(size=32, resize=36, channels=1, mean=(0.5,), std=(0.25,))


def network(name: str = "se_preresnet20", **options) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, in_channels=1, num_classes=4, **options)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(network(), path, classes="abcd", input=INPUT, recipe={"name": "mine"}, extra={"epoch": 3})
    return path


def test_a_round_trip_is_exact_and_the_report_counts(saved: Path) -> None:
    torch.manual_seed(1)
    model = create_model("se_preresnet20", in_channels=1, num_classes=4)
    report = load_weights(model, saved)
    wanted = network().state_dict()
    assert report.tensors == len(wanted)
    assert report.numbers == sum(tensor.numel() for tensor in wanted.values())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


def test_metadata_say_what_the_file_is(saved: Path) -> None:
    metadata = read_metadata(saved)
    assert metadata.model["name"] == "se_preresnet20"
    assert metadata.classes == ("a", "b", "c", "d")
    assert metadata.input == INPUT
    assert metadata.recipe == {"name": "mine"}
    assert metadata.extra == {"epoch": 3}
    assert metadata.senet


def test_the_file_alone_rebuilds_the_network(tmp_path: Path) -> None:
    spec = BlockSpec(reduction={1: 4, 2: 8, 3: 8}, gate="tanh", bias=False)
    model = network("preresnet20", block=spec, placement="pre", stages=(1, 3)).eval()
    save_weights(model, tmp_path / "w.safetensors")
    images = torch.randn(2, 1, 16, 16)
    assert torch.equal(from_pretrained(tmp_path / "w.safetensors")(images), model(images))


def test_channels_last_weights_are_saved_contiguous_and_the_network_is_left_alone(tmp_path: Path) -> None:
    model = network().to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "w.safetensors")
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("conv1.weight"), model.conv1.weight)


def test_other_people_may_read_the_file(saved: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("preresnet20", {}, "holds weights of se_preresnet20, but this network is preresnet20"),
        ("se_cifar_resnet20", {}, "holds weights of se_preresnet20, but this network is se_cifar_resnet20"),
        ("se_preresnet20", {"reduction": 8}, r"with block=.*'reduction': 8"),
        ("se_preresnet20", {"placement": "pre"}, r"with placement='standard' \(here 'pre'\)"),
    ],
)
def test_another_network_is_refused_with_the_fix(saved: Path, name: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load_weights(network(name, **options), saved)
    assert "senet.from_pretrained(" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_strict_names_what_is_missing_unexpected_and_misshapen_and_loads_nothing(tmp_path: Path) -> None:
    save_weights(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3, bias=False)), tmp_path / "w.safetensors")
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(3, 3), nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UsageError) as raised:
        load_weights(model, tmp_path / "w.safetensors")
    message = str(raised.value)
    assert "3 missing: 1.bias, 2.weight, 2.bias" in message
    assert "2 of another shape: 0.weight (3, 2) for (4, 2), 0.bias (3,) for (4,)" in message
    with pytest.raises(UsageError, match=r"2 unexpected: 0.bias, 1.weight"):
        load_weights(nn.Sequential(nn.Linear(2, 3, bias=False)), tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_long_lists_are_cut(tmp_path: Path) -> None:
    save_weights(nn.Linear(1, 1), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r" and \d+ more"):
        load_weights(nn.Sequential(*(nn.Linear(1, 1) for _ in range(9))), tmp_path / "w.safetensors")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": dict(state), "epoch": 3}])
def test_state_dicts_of_torch_save_load_too(tmp_path: Path, legacy: bool, wrap) -> None:
    torch.save(wrap(network().state_dict()), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    load_weights(network(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="does not say which network"):
        _ = read_metadata(tmp_path / "w.pth").model


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "write",
    [
        torch.save,
        lambda obj, path: torch.save(obj, path, _use_new_zipfile_serialization=False),
        lambda obj, path: path.write_bytes(pickle.dumps(obj)),
        lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2)),
    ],
    ids=["zip", "legacy", "pickle", "pickle 2"],
)
def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write) -> None:
    monkeypatch.chdir(tmp_path)
    write({"conv1.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(UsageError, match=r"is not read|cannot read") as raised:
        load_weights(network(), tmp_path / "bomb.pth")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>404</html>", "is an HTML or XML page"),
        (b"", "not a safetensors file, or cut short"),
        (b"hello", "not a safetensors file, or cut short"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "not a safetensors file, or cut short"),
        (b"PK\x03\x04 no zip", "cut short or damaged"),
    ],
    ids=["html", "empty", "text", "short header", "short zip"],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        load_weights(network(), path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_one_line(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    for read in (read_metadata, lambda path: load_weights(network(), path)):
        with pytest.raises(UsageError, match="cut short"):
            read(saved)


def test_a_header_length_that_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for length in range(400):  # pads the metadata until the 8-byte header length begins with 0x80, the first byte of a pickle
        save_weights(nn.Linear(1, 1), path, extra={"pad": "x" * length})
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no padding gave that length")
    assert load_weights(nn.Linear(1, 1), path).tensors == 2


@pytest.mark.parametrize(("path", "message"), [("nothing.safetensors", "does not exist"), ("", "is a folder")])
def test_what_is_not_there(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_weights(network(), tmp_path / path)


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (lambda conv: prune.l1_unstructured(conv, "weight", 0.5), lambda conv: prune.remove(conv, "weight")),
        (parametrizations.weight_norm, lambda conv: parametrize.remove_parametrizations(conv, "weight")),
        (parametrizations.spectral_norm, lambda conv: parametrize.remove_parametrizations(conv, "weight")),
    ],
    ids=["pruning", "weight norm", "spectral norm"],
)
def test_weights_that_are_computed_are_announced(change, undo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.safetensors"
    model = create_model("se_preresnet20")
    conv = model.get_submodule("layer1.0.conv1")
    change(conv)
    save_weights(model, path)
    assert "layer1.0.conv1 computes its weights from other tensors" in caplog.text
    assert load_weights(model, path).tensors
    caplog.clear()
    undo(conv)
    save_weights(model, path)
    assert not caplog.text
    assert torch.equal(from_pretrained(path).get_submodule("layer1.0.conv1").weight, conv.weight)  # pyright: ignore[reportArgumentType]
