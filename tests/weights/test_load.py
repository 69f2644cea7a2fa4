"""What people hand over by mistake is refused with the fix, and nothing is changed; what only looks wrong is loaded."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oracles.libraries import oracle, save_as
from senet import BlockSpec, create_model, from_pretrained, load_weights, save_weights
from senet.errors import UsageError
from senet.weights.store import metadata_of

LOADERS = {
    "load_weights": lambda source: load_weights(create_model("se_resnet18"), source),
    "create_model": lambda source: create_model("se_resnet18", weights=source),
    "from_pretrained": from_pretrained,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with files of other libraries."""
    folder = tmp_path_factory.mktemp("weights")
    for library, name in (
        ("pytorchcv", "seresnet18"),
        ("pytorchcv", "resnet20_cifar10"),
        ("timm", "seresnet18"),
        ("moskomule", "se_resnet18"),
    ):
        save_as(library, oracle(library, name), folder / f"{library}-{name}.pth")
    return folder


@pytest.fixture(scope="module")
def state(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "pytorchcv-seresnet18.pth")


def refused(load, source: object) -> str:
    with pytest.raises(UsageError) as raised:
        load(source)
    message = str(raised.value)
    assert "\n" not in message
    return message


class Bomb:
    """An object that, unpickled, makes the folder "exploded"."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("mkdir exploded",)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_file_that_would_run_a_program_does_not(load, legacy: bool, state: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state | {"output.bias": Bomb()}, tmp_path / "bomb.pth", _use_new_zipfile_serialization=not legacy)
    for source in ("pytorchcv:bomb.pth", "bomb.pth"):
        assert "holds Python objects beside tensors and is not read" in refused(load, source)
    assert not (tmp_path / "exploded").exists()
    torch.load(tmp_path / "bomb.pth", weights_only=False)
    assert (tmp_path / "exploded").exists()  # it would have


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_page_that_was_saved_instead(load, tmp_path: Path) -> None:
    (tmp_path / "seresnet18.pth").write_text("<!DOCTYPE html>\n<html><title>Sign in</title></html>")
    assert "is an HTML or XML page, not weights" in refused(load, f"pytorchcv:{tmp_path / 'seresnet18.pth'}")


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_file(load, share: float, folder: Path, tmp_path: Path) -> None:
    content = (folder / "pytorchcv-seresnet18.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(load, f"pytorchcv:{tmp_path / 'cut.pth'}")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "features.stage3.unit2.se.conv1.weight"}, "1 missing: layer3.1.se.fc1.weight"),
        (lambda s: s | {"features.stage5.extra": torch.zeros(3)}, "1 unexpected: features.stage5.extra"),
        (lambda s: s | {"features.stage1.unit1.se.conv1.bias": torch.zeros(9)}, "layer1.0.se.fc1.bias (9,) for (4,)"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_tensors_are_listed_by_our_names_and_nothing_is_loaded(change, fault: str, state: dict, tmp_path: Path) -> None:
    torch.save(change(state), tmp_path / "weights.pth")
    model = create_model("se_resnet18", stem_pool="pad")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert fault in refused(lambda source: load_weights(model, source), f"pytorchcv:{tmp_path / 'weights.pth'}")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert fault in refused(LOADERS["create_model"], f"pytorchcv:{tmp_path / 'weights.pth'}")


@pytest.mark.parametrize("name", ["se_resnet50", "resnet18", "cifar_resnet20", "senet154", "se_cifar_resnet20"])
def test_another_networks_file(name: str, folder: Path) -> None:
    file = folder / "pytorchcv-seresnet18.pth"
    for source in (file, f"pytorchcv:{file}"):
        assert "does not fit this network" in refused(lambda source: create_model(name, weights=source), source)


def test_another_librarys_file(folder: Path) -> None:
    file = folder / "pytorchcv-seresnet18.pth"
    message = refused(LOADERS["create_model"], f"moskomule:{file}")
    assert "does not have the names that moskomule gives to the tensors of se_resnet18" in message
    assert f"{str(file)!r} alone finds out whose it is" in message
    assert create_model("se_resnet18", weights=file).config.options["stem_pool"] == "pad"  # as the message says


def test_two_tensors_of_one_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state | {"output.fc.bias": torch.zeros(1000)}, tmp_path / "weights.pth")  # "output.bias" is there already
    assert "does not have the names that pytorchcv gives" in refused(LOADERS["create_model"], f"pytorchcv:{tmp_path / 'weights.pth'}")


def test_a_library_without_that_network(folder: Path) -> None:
    message = refused(lambda source: create_model("wrn16_8", weights=source), f"pytorchcv:{folder / 'pytorchcv-resnet20_cifar10.pth'}")
    assert "no weights of pytorchcv fit wrn16_8; they fit: " in message
    assert "wrn28_10" in message


def test_another_number_of_classes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = f"pytorchcv:{folder / 'pytorchcv-seresnet18.pth'}"
    model = create_model("se_resnet18", num_classes=7, stem_pool="pad")
    assert "fc.weight (1000, 512) for (7, 512), fc.bias (1000,) for (7,)" in refused(lambda s: load_weights(model, s), source)
    head = model.fc.weight.clone()
    report = load_weights(model, source, new_head=True)
    assert report.fresh == ("fc.weight", "fc.bias")
    assert torch.equal(model.fc.weight, head)

    caplog.clear()
    with caplog.at_level(logging.WARNING, "senet"):
        transferred = create_model("se_resnet18", num_classes=7, weights=source)
    (record,) = [record for record in caplog.records if record.name == "senet"]
    assert "the head is new, for 7 classes" in record.getMessage()
    assert transferred.fc.out_features == 7
    whole = create_model("se_resnet18", weights=source)
    kept = {name: tensor for name, tensor in whole.state_dict().items() if not name.startswith("fc.")}
    assert len(kept) == len(whole.state_dict()) - 2
    assert all(torch.equal(tensor, transferred.state_dict()[name]) for name, tensor in kept.items())
    assert metadata_of(transferred).classes is None
    assert metadata_of(transferred).input == metadata_of(whole).input
    assert len(metadata_of(whole).classes) == 1000


@pytest.mark.parametrize("prefix", ["pytorchcv:", ""])
def test_prefixes_of_data_parallel(prefix: str, state: dict, tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "parallel.pth")
    model = create_model("se_resnet18", weights=f"{prefix}{tmp_path / 'parallel.pth'}")
    assert torch.equal(model.fc.bias, state["output.bias"])


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("pytorchcv:pytorchcv-seresnet18.pth", {}, "needs stem_pool='pad' (here 'ceil')"),
        (
            "moskomule:moskomule-se_resnet18.pth",
            {"v1_5": True, "stem_pool": "pad"},
            "needs block={'kind': 'se', 'bias': False} (here {'kind': 'se'})",
        ),
        ("timm/seresnet18:timm-seresnet18.pth", {"v1_5": True, "stem_pool": "pad"}, "hidden': {2: 8, 3: 8, 4: 16, 5: 32}"),
        ("timm/seresnet18:timm-seresnet18.pth", {"stem_pool": "pad"}, "v1_5=True (here False)"),
        ("pytorchcv:pytorchcv-seresnet18.pth", {"stem_pool": "pad", "placement": "pre"}, "needs placement='standard' (here 'pre')"),
    ],
)
def test_options_that_differ_are_named_and_create_model_applies_them(file: str, options: dict, message: str, folder: Path) -> None:
    label, _, name = file.partition(":")
    source = f"{label}:{folder / name}"
    refusal = refused(lambda source: load_weights(create_model("se_resnet18", **options), source), source)
    assert message in refusal
    assert f"create_model('se_resnet18', weights={source!r}) builds the right network" in refusal
    load_weights(create_model("se_resnet18", weights=source), source)  # as the message says


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("pytorchcv:pytorchcv-seresnet18.pth", {"stem_pool": "ceil"}, "needs stem_pool='pad', got 'ceil'; leave it out"),
        ("timm:timm-seresnet18.pth", {"v1_5": False}, "needs v1_5=True, got False; leave it out"),
    ],
)
def test_options_that_contradict_the_file(file: str, options: dict, message: str, folder: Path) -> None:
    label, _, name = file.partition(":")
    assert message in refused(lambda source: create_model("se_resnet18", weights=source, **options), f"{label}:{folder / name}")


def test_a_block_that_contradicts_the_file(folder: Path) -> None:
    source = f"moskomule:{folder / 'moskomule-se_resnet18.pth'}"
    message = refused(lambda source: create_model("resnet18", block=BlockSpec("se", gate="tanh"), weights=source), source)
    assert "needs block={'kind': 'se', 'bias': False}, got {'kind': 'se', 'gate': 'tanh'}" in message
    assert create_model("resnet18", block="se", weights=source).config.name == "se_resnet18"


def test_a_file_that_fits_two_networks(tmp_path: Path) -> None:
    """Pytorchcv's seresnet50 and seresnet50b differ in strides alone."""
    theirs = oracle("pytorchcv", "seresnet50b")
    file = save_as("pytorchcv", theirs, tmp_path / "mine.safetensors")
    for load in (lambda source: create_model("se_resnet50", weights=source), from_pretrained):
        for source in (file, f"pytorchcv:{file}"):
            message = refused(load, source)
            assert "'pytorchcv/seresnet50:FILE' (stem_pool='pad')" in message
            assert "'pytorchcv/seresnet50b:FILE' (v1_5=True, stem_pool='pad')" in message
    assert create_model("se_resnet50", weights=f"pytorchcv/seresnet50b:{file}").config.options["v1_5"] is True
    assert create_model("se_resnet50", weights=f"pytorchcv/seresnet50:{file}").config.options["v1_5"] is False


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm/legacy_seresnet5", "unknown network of timm 'legacy_seresnet5' (did you mean 'legacy_seresnet50'?)"),
        ("cadene/seresnet50", "did you mean 'se_resnet50'?"),
        ("monai/SEResnet50:file.pth", "did you mean 'SEResNet50'?"),
        ("pytorchcv:nowhere.pth", "'nowhere.pth' does not exist"),
        ("nowhere.pth", "'nowhere.pth' does not exist"),
    ],
)
def test_unknown_names(source: str, message: str) -> None:
    assert message in refused(LOADERS["create_model"], source)


def test_plain_modules_load_files_of_their_own(tmp_path: Path) -> None:
    """A module that is no network of ours may have any names, and no library's rules are tried on it in vain."""
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "linear.pth")
    assert load_weights(nn.Linear(2, 3), tmp_path / "linear.pth").release is None


def test_a_file_may_lack_options_that_are_as_by_default(tmp_path: Path) -> None:
    model: Any = create_model("se_preresnet20")
    save_weights(model, tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        config = json.loads(file.metadata()["model"])
    del config["options"]["v1_5"]
    save_file(model.state_dict(), tmp_path / "old.safetensors", {"model": json.dumps(config)})
    load_weights(create_model("se_preresnet20"), tmp_path / "old.safetensors")
    from_pretrained(tmp_path / "old.safetensors")
    with pytest.raises(UsageError, match=r"with v1_5=False \(here True\); senet\.from_pretrained"):
        load_weights(create_model("se_preresnet20", v1_5=True), tmp_path / "old.safetensors")
