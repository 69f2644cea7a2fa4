"""Networks by the names of other libraries and of users' files."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import senet
from senet.errors import UsageError
from senet.models.create import config_of, model_from_config

OWN = """
import torch.nn.functional as F
from torch import nn

class Unit(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(x + self.bn(self.conv(x)))

class Net(nn.Module):
    def __init__(self, num_classes=10, in_channels=3, width=8):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.units = nn.Sequential(Unit(width), Unit(width))
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.units(self.stem(x)).mean((2, 3)))

def fixed():
    return Net(num_classes=7)

def strict(num_classes):
    return Net(num_classes)

def nothing():
    return 3

constant = 4
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/googlenet", "torchvision/mobilenet_v3_small", "timm/resnet10t"])
def test_classes_and_channels(name: str) -> None:
    model = senet.create_model(name, num_classes=7, in_channels=1)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)  # in training mode: no tuples
    assert config_of(model).name == name


def test_blocks_are_inserted_and_travel(tmp_path: Path) -> None:
    model = senet.create_model("torchvision/resnet18", num_classes=5, block="scse", placement="identity", stages=(5,), reduction=4).eval()
    path = tmp_path / "weights.safetensors"
    senet.save_weights(model, path)
    again = senet.from_pretrained(path)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    assert config_of(again).to_dict() == config_of(model).to_dict()
    assert sum(isinstance(module, senet.ChannelSpatialSE) for module in again.modules()) == 2


def test_plain_twin_has_no_blocks() -> None:
    model = senet.create_model("torchvision/resnet18", num_classes=5, block="se")
    plain = model_from_config(config_of(model).to_dict(), plain=True)
    assert not any(isinstance(module, senet.ChannelSE) for module in plain.modules())
    assert config_of(plain).options["block"] is None
    assert "inserted" not in config_of(plain).options


def test_profile_compares_with_the_network_without_blocks() -> None:
    profile = senet.profile(senet.create_model("torchvision/resnet18", block="se"), (1, 3, 64, 64), latency=False)
    assert profile.plain is not None
    assert profile.params - profile.plain.params == 2 * sum(2 * c * (c // 16) + c // 16 + c for c in (64, 128, 256, 512))
    assert profile.name == "torchvision/resnet18"


def test_networks_of_a_users_file(own: str) -> None:
    model = senet.create_model(f"{own}:Net", num_classes=4, in_channels=1, block="se", width=16, init="identity")
    assert [path for path, module in model.named_modules() if isinstance(module, senet.Gated)] == ["units.0.bn", "units.1.bn"]
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 4)
    assert {module.gain for module in model.modules() if isinstance(module, senet.Gated)} == {2.0}


def test_a_file_of_weights_runs_no_code(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = senet.create_model(f"{own}:Net", num_classes=4, block="se").eval()
    path = tmp_path / "weights.safetensors"
    senet.save_weights(model, path)
    torch.testing.assert_close(senet.from_pretrained(path)(x := torch.randn(1, 3, 8, 8)), model(x))  # this process was told to run the file
    monkeypatch.setattr("senet.userfile._named", set())
    Path(own).write_text("raise SystemExit('this ran')")
    with pytest.raises(UsageError, match="a file of weights is no reason to run that code"):
        senet.from_pretrained(path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet5", {}, "timm has no model 'resnet5' \\(did you mean 'resnet50'\\?\\)"),
        ("torchvision/resnet5", {}, "torchvision has no model 'resnet5' \\(did you mean"),
        ("torchvision/resnet18", {"depth": 3}, "torchvision/resnet18 does not take these options: .*depth"),
        ("torchvision/resnet18", {"block": "sx"}, "unknown block 'sx'"),
        ("torchvision/resnet18", {"reduction": 4}, "reduction=4 needs a block"),
        ("torchvision/resnet18", {"stages": (3,)}, "torchvision/resnet18 is plain: stages and placement need a block"),
        ("torchvision/resnet18", {"features_only": True}, "takes no features_only"),
        ("torchvision/resnet18", {"block": lambda *_: None}, "a block must be a kind or a BlockSpec"),
        ("nowhere.py:build", {}, "there is no file 'nowhere.py'"),
        ("{own}:Nett", {}, "has no function or class 'Nett' \\(did you mean 'Net'\\?\\); it has: Unit, Net, fixed, strict, nothing"),
        ("{own}:constant", {}, "has no function or class 'constant'"),
        ("{own}:nothing", {}, "returns int, which is not a torch.nn.Module"),
        ("{own}:fixed", {"num_classes": 4}, "makes a network with num_classes=7 where 4 is needed: let it take num_classes"),
        ("{own}:fixed", {"in_channels": 1}, "makes a network with in_channels=3 where 1 is needed: let it take in_channels"),
        ("{own}:strict", {}, "needs num_classes"),
        ("{own}:Net", {"wdth": 3}, "does not take these options: .*wdth"),
        ("other/resnet18", {}, "unknown model 'other/resnet18'"),
    ],
)
def test_errors_say_what_is_wrong(name: str, options: dict[str, object], message: str, own: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        senet.create_model(name.replace("{own}", own), **options)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_not_there_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=f"{library}/resnet18 needs {library}: pip install {library}"):
        senet.create_model(f"{library}/resnet18")


def test_trained_networks_get_a_new_head_and_stem_and_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    get_model = torchvision.models.get_model
    source = torchvision.models.GoogLeNet(init_weights=False)

    def trained(name: str, **options: object) -> nn.Module:
        return source if (name, options) == ("googlenet", {"weights": "DEFAULT"}) else get_model(name, **options)

    monkeypatch.setattr(torchvision.models, "get_model", trained)
    kernel = source.conv1.conv.weight.detach().clone()
    model = senet.create_model("torchvision/googlenet", num_classes=3, in_channels=1, block="se", pretrained=True)
    torch.testing.assert_close(model.get_parameter("conv1.conv.weight"), kernel.sum(1, keepdim=True))
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 3)
    assert {module.gain for module in model.modules() if isinstance(module, senet.Gated)} == {2.0}
    assert config_of(model).options["pretrained"] is True
