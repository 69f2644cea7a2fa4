"""Files as training programs write them: whatever stands around the weights, the same tensors are loaded, and what is left out is said."""

import argparse
import collections
import datetime
import enum
import logging
import os
import pathlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from senet import create_model, load_weights
from senet.errors import UsageError

State = dict[str, Tensor]


class Net(nn.Module):
    """A small network: a convolution, BN, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer1(self.conv1(x)).mean((2, 3)))


def below(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def optimizer() -> dict[str, Any]:
    """Return the state of an optimiser that has taken a step."""
    net = Net()
    adam = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 9, 9)).sum().backward()
    adam.step()
    return adam.state_dict()


def swa(state: State) -> State:
    net = Net()
    net.load_state_dict(state)
    return AveragedModel(net).state_dict()


def defaults() -> dict[str, list[float]]:
    found = collections.defaultdict(list)
    found["loss"].append(1.0)
    return found


ARGUMENTS = argparse.Namespace(lr=0.1, data=pathlib.Path("images"), device=torch.device("cpu"), dtype=torch.float16)
LIGHTNING = {
    "epoch": 1,
    "pytorch-lightning_version": "2.5.0",
    "loops": {"fit_loop": {"state_dict": {"seen": torch.ones(9)}}},
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.3), "dirpath": "runs"}},
    "lr_schedulers": [{"_last_lr": [0.1]}],
    "hyper_parameters": {"lr": 0.1, "seen": defaults()},
}

TORCHVISION = {"lr_scheduler": {"milestones": collections.Counter([30, 60])}, "epoch": 3, "scaler": None}

FORMS: dict[str, Callable[[State, State], Any]] = {
    "timm, with an average": lambda s, e: {
        "epoch": 3,
        "arch": "net",
        "version": 2,
        "args": ARGUMENTS,
        "metric": np.float64(71.5),
        "optimizer": optimizer(),
        "state_dict": s,
        "state_dict_ema": e,
        "amp_scaler": {"scale": 65536.0},
    },
    "torchvision": lambda s, e: {"model": s, "optimizer": optimizer(), "args": ARGUMENTS, **TORCHVISION},
    "torchvision, with an average": lambda s, e: {
        "model": s,
        "optimizer": optimizer(),
        "args": ARGUMENTS,
        "model_ema": swa(e),
        **TORCHVISION,
    },
    "Lightning": lambda s, e: {"state_dict": below("model.", s), "optimizer_states": [optimizer()], **LIGHTNING},
    "Lightning, with a loss of its own": lambda s, e: {"state_dict": below("net.", s) | {"criterion.weight": torch.ones(5)}, **LIGHTNING},
    "Lightning, compiled": lambda s, e: {"state_dict": below("model._orig_mod.", s), **LIGHTNING},
    "Lightning, with an average": lambda s, e: {"state_dict": below("model.", s) | below("ema_model.module.", e), **LIGHTNING},
    "mmpretrain": lambda s, e: {
        "meta": {"seed": np.int64(3), "time": datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC), "CLASSES": ("a", "b"), "cfg": "lr = 0.1"},
        "state_dict": below("backbone.", s),
        "optimizer": optimizer(),
    },
    "mmengine, with an average": lambda s, e: {
        "state_dict": below("backbone.", s),
        "ema_state_dict": {"steps": torch.tensor(3), **below("module.backbone.", e)},
        "message_hub": {"runtime_info": {"epoch": 3, "loss": np.float32(0.5), "all": np.arange(3.0)}},
    },
    "segmentation_models_pytorch": lambda s, e: {"model_state_dict": s, "optimizer_state_dict": optimizer(), "loss": torch.tensor(0.2)},
    "MONAI's CheckpointSaver": lambda s, e: {"net": s, "opt": optimizer()},
    "MONAI's bundles": lambda s, e: {"network": s, "optimizer": optimizer()},
    "nnU-Net": lambda s, e: {
        "network_weights": below("", s),
        "optimizer_state": optimizer(),
        "grad_scaler_state": {"scale": 1.0, "_growth_tracker": 0},
        "logging": {"mean_fg_dice": [np.float32(0.5)], "epoch_end_timestamps": [1.5]},
        "_best_ema": np.float64(0.8),
        "current_epoch": 4,
        "init_args": {"plans": {"spacing": [1.0]}, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
    },
    "nnU-Net, compiled and distributed": lambda s, e: {"network_weights": below("module._orig_mod.", s)},
    "DeepSpeed": lambda s, e: {
        "module": s,
        "buffer_names": ["layer1.1.running_mean"],
        "param_shapes": [collections.OrderedDict(a=torch.Size([1]))],
        "ds_config": {"zero": 2},
        "ds_version": "0.15",
        "args": ARGUMENTS,
        "optimizer": optimizer(),
        "lr_scheduler": None,
    },
    "Accelerate and DeepSpeed, consolidated": lambda s, e: s,
    "fastai": lambda s, e: {"model": s, "opt": {"state": [{"step": 3, "grad_avg": torch.ones(8)}], "hypers": [{"lr": 0.1}]}},
    "DINO": lambda s, e: {
        "student": below("module.backbone.", s) | {"module.head.mlp.weight": torch.ones(3, 3)},
        "teacher": below("backbone.", e) | {"head.mlp.weight": torch.ones(3, 3)},
        "optimizer": optimizer(),
        "epoch": 3,
        "args": ARGUMENTS,
        "fp16_scaler": {},
        "dino_loss": {"center": torch.ones(1, 9)},
    },
    "MoCo": lambda s, e: {
        "state_dict": below("module.encoder_q.", s) | below("module.encoder_k.", e) | {"module.queue": torch.ones(8, 9)},
        "epoch": 3,
        "arch": "net",
        "optimizer": optimizer(),
    },
    "BYOL": lambda s, e: {"state_dict": below("online_encoder.net.", s) | {"predictor.0.weight": torch.ones(9, 9)}},
    "ConvNeXt's program": lambda s, e: {"model": s, "model_ema": e, "optimizer": optimizer(), "args": ARGUMENTS},
    "EMA beside": lambda s, e: {"model": s, "ema": e, "best_fitness": np.array([0.5])},
    "swa_utils": lambda s, e: swa(s),
    "DataParallel": lambda s, e: {"state_dict": below("module.", s)},
    "compiled": lambda s, e: below("_orig_mod.", s),
    "compiled part by part": lambda s, e: {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in s.items()},
    "all wrappers in another order": lambda s, e: below("_orig_mod.module.model._forward_module.", s),
    "FSDP, gathered": lambda s, e: below("_fsdp_wrapped_module.", s),
    "weight": lambda s, e: {"weight": s},
    "nested twice": lambda s, e: {"checkpoint": {"model": {"state_dict": s}, "date": datetime.date(2024, 1, 1)}},
    "a name of its own": lambda s, e: {"my_encoder": s, "step": 3},
    "thop's counts": lambda s, e: s | {"layer1.total_ops": torch.zeros(1), "total_params": torch.zeros(1)},
    "no counters": lambda s, e: {name: tensor for name, tensor in s.items() if not name.endswith("num_batches_tracked")},
    "buffers of others": lambda s, e: s | {"layer1.relative_position_index": torch.zeros(4, dtype=torch.long), "attn_mask": torch.ones(2)},
    "NumPy arrays": lambda s, e: {"model": {name: tensor.numpy() for name, tensor in s.items()}},
    "an auxiliary head": lambda s, e: s | {"aux_classifier.0.weight": torch.ones(5, 5)},
}
"""Tool -> what it saves of the weights, and of an average of them."""


@pytest.fixture
def states() -> tuple[State, State]:
    """Return weights, and an average of them."""
    torch.manual_seed(0)
    net = Net()
    return net.state_dict(), {name: tensor + 1 for name, tensor in net.state_dict().items()}


def equal(net: nn.Module, state: State) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
def test_the_weights_in_it_are_loaded(form: str, legacy: bool, states: tuple[State, State], tmp_path: Path) -> None:
    torch.save(FORMS[form](*states), tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=not legacy)
    net = Net()
    report = load_weights(net, tmp_path / "checkpoint.pth")
    assert equal(net, states[has_average(form)])
    assert report.tensors >= len(states[0]) - 1
    assert report.adapted is None


def has_average(form: str) -> bool:
    return form.endswith("with an average") or form in ("DINO", "ConvNeXt's program", "EMA beside")


@pytest.mark.parametrize("form", FORMS)
def test_the_same_in_memory(form: str, states: tuple[State, State]) -> None:
    net = Net()
    load_weights(net, FORMS[form](*states))
    assert equal(net, states[has_average(form)])


@pytest.mark.parametrize(
    ("form", "entry"),
    [("timm, with an average", "state_dict"), ("torchvision, with an average", "model"), ("DINO", "student"), ("EMA beside", "model")],
)
def test_the_average_is_announced_and_the_others_can_be_had(
    form: str, entry: str, states: tuple[State, State], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, net = tmp_path / "checkpoint.pth", Net()
    torch.save(FORMS[form](*states), file)
    load_weights(net, file)
    assert any(f"others: '{file}#{entry}'" in record.getMessage() for record in caplog.records)
    load_weights(net, f"{file}#{entry}")
    assert equal(net, states[0])
    with pytest.raises(UsageError, match=rf"no state dict under 'nothing'; it has: .*{entry}"):
        load_weights(net, f"{file}#nothing")


def test_what_is_left_out_is_said(states: tuple[State, State], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = below("model.", states[0]) | {"model.layer1.total_ops": torch.zeros(1), "criterion.weight": torch.ones(5)}
    torch.save(state | {"model.position_ids": torch.arange(3)}, tmp_path / "a.pth")
    report = load_weights(Net(), tmp_path / "a.pth")
    assert report.dropped == ("criterion.weight", "position_ids")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 3
    assert "1 counts of operations are left out: model.layer1.total_ops" in said[0]
    assert "below 'model.' are loaded, and 1 tensors beside are left out: criterion.weight" in said[1]
    assert "1 tensors have no place in it and are left out: position_ids" in said[2]


def test_a_clean_file_is_loaded_without_a_word(states: tuple[State, State], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"state_dict": below("module.", states[0]), "epoch": 3}, tmp_path / "a.pth")
    load_weights(Net(), tmp_path / "a.pth")
    assert not caplog.records


def test_two_networks_in_a_file(states: tuple[State, State], tmp_path: Path) -> None:
    file = tmp_path / "gan.pth"
    torch.save({"generator": states[0], "discriminator": states[1]}, file)
    with pytest.raises(UsageError, match=f"holds several networks; say which: '{file}#generator', '{file}#discriminator'"):
        load_weights(Net(), file)
    net = Net()
    load_weights(net, f"{file}#discriminator")
    assert equal(net, states[1])


def test_files_whose_name_has_the_sign(states: tuple[State, State], tmp_path: Path) -> None:
    torch.save(states[0], tmp_path / "a#1.pth")
    net = Net()
    load_weights(net, str(tmp_path / "a#1.pth"))
    assert equal(net, states[0])


@pytest.mark.parametrize("tree", [{}, {"a": 1}, [1, 2], 3, "text", None, {"optimizer": {"state": {"a": torch.ones(2)}}}])
def test_files_without_weights(tree: object, tmp_path: Path) -> None:
    torch.save(tree, tmp_path / "a.pth")
    with pytest.raises(UsageError, match="is not a state dict, and holds none"):
        load_weights(Net(), tmp_path / "a.pth")


class Choice(enum.Enum):
    ONE = 1


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("mkdir exploded",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(("value", "name"), [(Choice.ONE, "test_forms.Choice"), (Net(), "test_forms.Net"), (Exploit(), "system")])
def test_what_is_no_plain_data_is_named_with_the_remedy(
    value: object, name: str, legacy: bool, states: tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": states[0], "beside": value}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UsageError, match=f"holds Python objects beside tensors and is not read .*{name}.*take the tensors out") as raised:
        load_weights(Net(), tmp_path / "a.pth")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "exploded").exists()


def test_stand_ins_are_gone_afterwards(states: tuple[State, State], tmp_path: Path) -> None:
    torch.save({"state_dict": states[0], "args": ARGUMENTS}, tmp_path / "a.pth")
    before = set(torch.serialization.get_safe_globals())
    load_weights(Net(), tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_recalibrated_network_takes_such_files(tmp_path: Path) -> None:
    trained = create_model("se_preresnet20")
    torch.save({"state_dict_ema": below("module.", trained.state_dict()), "args": ARGUMENTS}, tmp_path / "a.pth")
    for model in (create_model("se_preresnet20", weights=tmp_path / "a.pth"), create_model("se_preresnet20", weights=trained.state_dict())):
        assert equal(model, trained.state_dict())


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what makes an object of a class of a library that need not be installed, known to pickle as of there."""

    def make(path: str, base: type = object, **state: Any) -> Any:
        module, _, name = path.rpartition(".")
        kind = type(name, (base,), {"__module__": module})
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if part not in sys.modules:
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
        monkeypatch.setattr(sys.modules[module], name, kind, raising=False)
        made = kind()
        if base is dict:
            made.update(state)
        else:
            vars(made).update(state)
        return made

    return make


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("lightning_fabric.utilities.data.AttributeDict", dict),
        ("pytorch_lightning.utilities.parsing.AttributeDict", dict),
        ("omegaconf.dictconfig.DictConfig", object),
        ("omegaconf.base.ContainerMetadata", object),
        ("mmengine.logging.history_buffer.HistoryBuffer", object),
        ("mmengine.config.config.ConfigDict", dict),
        ("yacs.config.CfgNode", dict),
    ],
)
def test_configurations_of_training_libraries(
    path: str, base: type, foreign: Callable[..., Any], states: tuple[State, State], tmp_path: Path
) -> None:
    held = foreign(path, base, lr=0.1, values=np.arange(3.0), queue=collections.deque([1]), nested={"a": [1]})
    torch.save({"state_dict": states[0], "hyper_parameters": held, "again": [held]}, tmp_path / "a.pth")
    net = Net()
    load_weights(net, tmp_path / "a.pth")
    assert equal(net, states[0])


def test_a_whole_network_is_named_with_the_remedy(foreign: Callable[..., Any], states: tuple[State, State], tmp_path: Path) -> None:
    network = foreign("ultralytics.nn.tasks.DetectionModel", nn.Module, stride=3)
    torch.save({"model": network, "ema": None, "train_args": {"lr0": 0.01}}, tmp_path / "yolo.pt")
    with pytest.raises(UsageError, match=r"\(ultralytics\.nn\.tasks\.DetectionModel\).*with \.state_dict\(\) after a whole network"):
        load_weights(Net(), tmp_path / "yolo.pt")


def test_a_state_under_two_names_is_one(states: tuple[State, State]) -> None:
    net = Net()
    load_weights(net, {"model": states[0], "network": states[0]})
    assert equal(net, states[0])


def test_mappings_in_circles_and_crossings_are_walked_once(states: tuple[State, State]) -> None:
    tree: dict[str, Any] = {}
    for _ in range(6):
        tree = {f"entry{index}": tree for index in range(2000)}
    tree["itself"] = tree
    net = Net()
    load_weights(net, {"wide": tree, "model": states[0]})
    assert equal(net, states[0])


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "a sparse tensor": lambda tensor: tensor.to_sparse(),
    "on the meta device": lambda tensor: tensor.to("meta"),
    "1 of another type: fc.bias torch.int8 for torch.float32": lambda tensor: tensor.to(torch.int8),
    "1 of another type: fc.bias torch.complex64 for torch.float32": lambda tensor: tensor.to(torch.complex64),
}


@pytest.mark.parametrize("message", ODD)
def test_numbers_that_are_no_weights_are_refused(message: str, states: tuple[State, State]) -> None:
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UsageError, match=message):
        load_weights(net, states[0] | {"fc.bias": ODD[message](states[0]["fc.bias"])})
    assert equal(net, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_of_numbers_are_loaded(dtype: torch.dtype, states: tuple[State, State]) -> None:
    net, state = Net(), {name: tensor.to(dtype) for name, tensor in states[0].items()}  # counters among them
    load_weights(net, state)
    assert net.fc.weight.dtype == torch.float32
    assert torch.equal(net.fc.weight, state["fc.weight"].float())


def test_a_name_of_many_parts(states: tuple[State, State]) -> None:
    with pytest.raises(UsageError, match="does not fit this network"):
        load_weights(Net(), {"a." * 100_000 + "weight": torch.ones(3)})
