"""Files choose a network and its plain hyperparameters: nothing that is opened, fetched, run or larger than what is in the file."""

import json
import resource
import socket
from pathlib import Path
from random import Random
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models as torchvision_models

import senet
from senet.errors import UsageError
from senet.models import foreign
from senet.models.create import config_of
from senet.models.libraries import ENTRIES, LIBRARIES
from senet.models.written import HYPERPARAMETER, at_most, hyperparameters
from within import within

NETWORKS = {
    "se_preresnet20": {},
    "timm/resnet10t": {"block": "se", "drop_rate": 0.1},
    "torchvision/resnet18": {"block": "scse", "placement": "identity"},
    "torchvision/regnet_y_400mf": {},
}
"""Names of networks of the registry, of libraries with blocks inserted, and one that the meta device cannot build -> options."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any], dict[str, torch.Tensor]]]:
    """Name -> file, its metadata's model, its tensors."""
    made = {}
    for name, options in NETWORKS.items():
        path = tmp_path_factory.mktemp("files") / "w.safetensors"
        model = senet.create_model(name, num_classes=4, **options)
        senet.save_weights(model, path)
        made[name] = path, json.loads(json.dumps(config_of(model).to_dict())), load_file(path)
    return made


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process made, and let nothing be fetched."""
    monkeypatch.setattr(foreign, "_made", set())

    def refused(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a connection is asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)


def load(files: Any, tmp_path: Path, name: str, config: Any) -> nn.Module:
    _, _, tensors = files[name]
    save_file(tensors, tmp_path / "w.safetensors", {"model": json.dumps(config)})
    return senet.from_pretrained(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", NETWORKS)
def test_what_we_write_is_built_again_in_another_process(files: Any, name: str) -> None:
    path, config, tensors = files[name]
    model = senet.from_pretrained(path)
    assert json.loads(json.dumps(config_of(model).to_dict())) == config
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())


FORBIDDEN = {
    "weights": "/etc/hostname",
    "device": "meta",
    "checkpoint_path": "/etc/hostname",
    "pretrained_cfg": {"url": "https://host/file"},
    "pretrained_cfg_overlay": {"file": "/etc/hostname"},
    "weights_backbone": "DEFAULT",
    "scriptable": True,
    "exportable": True,
    "cache_dir": "/tmp/cache",
    "dtype": "float16",
    "features_only": True,
    "progress": True,
    "self": 1,
    "command": "ls",
}


@pytest.mark.parametrize("option", FORBIDDEN)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_chooses_nothing_but_hyperparameters(files: Any, tmp_path: Path, name: str, option: str) -> None:
    config = files[name][1]
    with pytest.raises(UsageError, match=rf"w\.safetensors: model\.options: unknown field '{option}'.*; allowed: ") as raised:
        load(files, tmp_path, name, config | {"options": config["options"] | {option: FORBIDDEN[option]}})
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        *("timm/hf-hub:user/repo", "timm/local-dir:/tmp", "timm/resnet10t.x:y", "timm/../x", "timm/", "torchvision/nosuch", "timm/nosuch"),
        *("nosuch", "/etc/hostname", "hf:user/repo", "https://host/file", "own.py:Net", "timm/x.py:Net", "caffe:file", "\u202e"),
    ],
)
def test_names_are_names_of_networks(files: Any, tmp_path: Path, name: str) -> None:
    config = files["timm/resnet10t"][1]
    with pytest.raises(UsageError) as raised:
        load(files, tmp_path, "timm/resnet10t", config | {"name": name})
    assert str(raised.value).isprintable()


LARGE = [
    ("se_preresnet20", {"num_classes": 10**7}),
    ("se_preresnet20", {"in_channels": 10**5}),
    ("se_preresnet20", {"block": {"kind": "se", "hidden": 10**9}}),
    ("se_preresnet20", {"block": {"kind": "scse", "reduction": 1}}),
    ("timm/resnet10t", {"num_classes": 10**7}),
    ("timm/resnet10t", {"channels": [9000] * 4}),
    ("timm/resnet10t", {"stem_width": 10_000}),
    ("torchvision/resnet18", {"width_per_group": 10_000}),
    ("torchvision/regnet_y_400mf", {"num_classes": 10**7}),
    ("torchvision/regnet_y_400mf", {"stem_width": 10_000}),
]


@pytest.mark.parametrize(("name", "options"), LARGE)
def test_nothing_is_allocated_that_is_not_in_the_file(files: Any, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    config = files[name][1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with within(10), pytest.raises(UsageError):
        load(files, tmp_path, name, config | {"options": config["options"] | options})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "KiB"


def test_a_plan_in_a_file_allocates_nothing_that_is_not_in_the_file(files: Any, tmp_path: Path) -> None:
    config = json.loads(json.dumps(files["torchvision/resnet18"][1]))
    for site in config["options"]["inserted"][0]["sites"]:
        site["block"] = {"kind": "se", "hidden": 30_000}
    with pytest.raises(UsageError, match="does not fit this network"):
        load(files, tmp_path, "torchvision/resnet18", config)


def test_more_layers_than_there_are_tensors_stop_at_once() -> None:
    with (
        within(5),
        pytest.raises(UsageError, match="w: model describes a network of more tensors than"),
        at_most(100, "w: model"),
    ):
        LIBRARIES["timm"]("vit_tiny_patch16_224", 4, 3, {"depth": 10_000, "embed_dim": 3, "num_heads": 1})
    assert len(list(nn.Linear(2, 2).parameters())) == 2, "the limit ends with its block"


@pytest.mark.parametrize("network", ["resnet18", "efficientnet_b0", "vit_tiny_patch16_224", "convnext_atto"])
def test_hyperparameters_of_timm(network: str) -> None:
    found = hyperparameters(ENTRIES["timm"](network))
    assert {"drop_rate", "drop_path_rate", "global_pool", "act_layer"} <= found
    assert found & FORBIDDEN.keys() == set()
    doubtful = ("pretrained", "checkpoint", "url", "file", "cfg", "script", "device")
    assert {name for name in found if any(word in name for word in doubtful)} == set()


def test_hyperparameters_of_torchvision() -> None:
    assert {"zero_init_residual", "replace_stride_with_dilation", "groups"} <= hyperparameters(ENTRIES["torchvision"]("resnet50"))
    assert {"aux_logits", "transform_input", "dropout"} <= hyperparameters(ENTRIES["torchvision"]("googlenet"))
    for name in torchvision_models.list_models():
        found = hyperparameters(ENTRIES["torchvision"](name))
        assert found & (FORBIDDEN.keys() | {"weights_backbone"}) == set()


def test_hyperparameters_may_be_mappings_of_plain_values(tmp_path: Path) -> None:
    model = senet.create_model("timm/resnet10t", num_classes=4, block_args={"attn_layer": "eca"})
    senet.save_weights(model, tmp_path / "w.safetensors")
    foreign._made.clear()
    again = senet.from_pretrained(tmp_path / "w.safetensors")
    assert again.state_dict().keys() == model.state_dict().keys()
    assert config_of(again).options["block_args"] == {"attn_layer": "eca"}
    HYPERPARAMETER.check({"attn_layer": "se", "attn_kwargs": {"rd_ratio": 0.25, "sizes": [1, 2]}}, "w: block_args")


@pytest.mark.parametrize(
    "value",
    [
        {"pretrained_cfg": {"url": "x"}},
        *(
            {"device": "cpu"},
            {"attn_kwargs": {"weights": "x"}},
            {"x y": 1},
            {"a": {"b": {"c": 1}}},
            {"path": "/etc/hostname"},
            {"depth": 10**9},
        ),
    ],
)
def test_mappings_hold_nothing_but_hyperparameters(files: Any, tmp_path: Path, value: Any) -> None:
    config = files["timm/resnet10t"][1]
    with pytest.raises(UsageError, match=r"options\.block_args.*expected") as raised:
        load(files, tmp_path, "timm/resnet10t", config | {"options": config["options"] | {"block_args": value}})
    assert len(str(raised.value)) < 500


def test_what_this_process_was_asked_to_make_may_have_any_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def factory(name: str, num_classes: int | None, in_channels: int, options: dict[str, Any]) -> nn.Module:
        assert options["label"] == "any/text"
        return torchvision_models.resnet18(num_classes=num_classes or 4)

    monkeypatch.setitem(LIBRARIES, "torchvision", factory)
    model = senet.create_model("torchvision/resnet18", num_classes=4, label="any/text", checkpoint_path=None)
    senet.save_weights(model, tmp_path / "w.safetensors")
    senet.from_pretrained(tmp_path / "w.safetensors")
    foreign._made.clear()
    with pytest.raises(UsageError, match=r"options: unknown field 'label'"):
        senet.from_pretrained(tmp_path / "w.safetensors")


def test_origins_that_are_none_may_be_in_a_file(files: Any, tmp_path: Path) -> None:
    config = files["torchvision/resnet18"][1]
    said = {"weights_backbone": None, "progress": False, "checkpoint_path": None}
    load(files, tmp_path, "torchvision/resnet18", config | {"options": config["options"] | said})
    senet.create_model("torchvision/resnet18", num_classes=4, device="meta")
    load(files, tmp_path, "torchvision/resnet18", config | {"options": config["options"] | {"weights_backbone": "DEFAULT"}})


def test_where_weights_came_from_is_not_written_down(tmp_path: Path) -> None:
    plain = timm.create_model("resnet10t", num_classes=4)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    model = senet.create_model("timm/resnet10t", num_classes=4, checkpoint_path=str(tmp_path / "plain.pth"), drop_rate=0.1)
    assert torch.equal(model.get_parameter("fc.weight"), plain.get_parameter("fc.weight"))
    assert "checkpoint_path" not in config_of(model).options
    assert config_of(model).options["drop_rate"] == 0.1


ODD = [
    *(None, True, -1, 0, 3, 9999, 10**30, 0.5, 1e300, float("nan")),
    *("", "x", "avg", "os.system", "x" * 99, [], [3], [[1, 2]], {}, {"kind": "se"}),
]
KNOWN = ["drop_path_rate", "channels", "stem_width", "norm_layer", "act_layer", "init", "at", "existing", "pretrained", "omitted"]


def tried(files: Any, tmp_path: Path, count: int) -> set[type[BaseException]]:
    """Return the kinds of error that mutated configurations end in."""
    random, errors = Random(0), []
    for _ in range(count):
        name = random.choice(list(NETWORKS))
        config = json.loads(json.dumps(files[name][1]))
        for _ in range(random.randint(1, 2)):
            config["options"][random.choice([*config["options"], *FORBIDDEN, *KNOWN])] = random.choice(ODD)
        with within(10):
            try:
                load(files, tmp_path, name, config)
            except Exception as error:
                errors.append(error)
    assert [error for error in errors if not str(error).isprintable()] == []
    return {type(error) for error in errors}


def test_mutated_configurations_are_refused_in_one_line(files: Any, tmp_path: Path) -> None:
    assert tried(files, tmp_path, 40) == {UsageError}


@pytest.mark.slow
def test_ten_thousand_mutated_configurations_are_refused_in_one_line(files: Any, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert tried(files, tmp_path, 10_000) == {UsageError}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "KiB"
