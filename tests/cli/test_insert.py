"""`senet insert`: plans shown, networks and plans written, wrong usage in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import senet
from senet.cli.main import main

OWN = """
from torch import nn

def build(num_classes=10):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
"""


def run(*words: str) -> int:
    return main(["insert", *words])


def test_dry_run_shows_the_plan(capsys: pytest.CaptureFixture) -> None:
    assert run("torchvision/resnet18", "--block", "se", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "layer4.1.bn2" in out
    assert "8 blocks in ResNet" in out


def test_plan_as_json_is_a_plan(capsys: pytest.CaptureFixture) -> None:
    assert run("resnet18", "--block", "{kind: scse, combine: max}", "--stages", "3,4", "--paths", r"\.1\.", "--dry-run", "--json") == 0
    plan = senet.InsertPlan.from_dict(json.loads(capsys.readouterr().out))
    assert [site.path for site in plan] == ["layer2.1.bn2", "layer3.1.bn2"]
    assert plan.sites[0].block == senet.BlockSpec("scse", combine="max")
    assert plan.init is None


def test_network_and_plan_are_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights, plan = tmp_path / "network.safetensors", tmp_path / "plan.json"
    assert run("torchvision/resnet18", "--block", "se", "--reduction", "{2: 8, 3: 8, 4: 16, 5: 32}", "--output", str(weights)) == 0
    model = senet.from_pretrained(weights)
    assert [module.hidden for module in model.modules() if isinstance(module, senet.ChannelSE)] == [8, 8, 16, 16, 16, 16, 16, 16]
    assert run("torchvision/resnet18", "--limit", "3", "--output", str(plan)) == 0
    assert len(senet.InsertPlan.from_json(plan.read_text())) == 3


def test_trained_weights_keep_their_outputs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    plain = senet.create_model("cifar_resnet20").eval()
    senet.save_weights(plain, tmp_path / "plain.safetensors")
    assert run("cifar_resnet20", "--weights", str(tmp_path / "plain.safetensors"), "--output", str(tmp_path / "se.safetensors")) == 0
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(senet.from_pretrained(tmp_path / "se.safetensors")(x), plain(x))


def test_a_users_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "own.py").write_text(OWN)
    assert run(f"{tmp_path}/own.py:build", "--num-classes", "3", "--dry-run", "--json") == 0
    assert [site["path"] for site in json.loads(capsys.readouterr().out)["sites"]] == ["2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet1"], "unknown model 'resnet1'"),
        (["timm/resnet5"], "timm has no model 'resnet5' (did you mean 'resnet50'?)"),
        (["resnet18", "--block", "sx"], "unknown block 'sx'"),
        (["resnet18", "--placement", "last"], "placement"),
        (["resnet18", "--stages", "three"], "--stages wants numbers such as 4,5, got 'three'"),
        (["resnet18", "--paths", "nowhere"], "no path matches 'nowhere'; near it:"),
        (["se_resnet18"], "all 8 units of ResNet recalibrate already"),
        (["torchvision/vgg11", "--placement", "pre"], "placement 'pre' is impossible in VGG"),
        (["resnet18", "--output", "x.pt"], "--output must end in .safetensors (the network) or .json (the plan), got 'x.pt'"),
        (["resnet18", "--dry-run", "--output", "x.json"], "--dry-run writes nothing"),
        (["resnet18", "--init", "zero"], "init"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], message: str, refused: Callable[..., str]) -> None:
    assert message in refused("insert", *words)


def test_help_does_not_import_torch() -> None:
    script = "import sys; from senet.cli.main import main; main(['insert', '--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout
