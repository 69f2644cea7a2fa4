"""A user's own block goes wherever those of the package go."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import senet
from blocks.eca import ECA
from senet.cli.main import main
from senet.errors import UsageError
from senet.recipe import load_recipe, override
from senet.spec import KINDS

pytestmark = pytest.mark.usefixtures("own_kinds")


@pytest.fixture(autouse=True)
def registered(own_kinds: None) -> None:
    senet.register_block("eca", ECA)


def eca_blocks(model: torch.nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if isinstance(module, ECA)]


def test_in_the_zoo() -> None:
    names = senet.list_models("eca_*")
    assert "eca_resnet18" in names
    assert "eca_senet154" not in names
    model: Any = senet.create_model("eca_resnet18", num_classes=10)
    same: Any = senet.create_model("resnet18", num_classes=10, block="eca")
    assert model.config == same.config
    assert len(eca_blocks(model)) == 8
    assert [model.get_submodule(path).conv.kernel_size for path in eca_blocks(model)] == [(3,), (3,), (5,), (5,), (5,), (5,), (5,), (5,)]
    wide: Any = senet.create_model("resnet18", block=senet.BlockSpec("eca", kernel={2: 3, 3: 5, 4: 7, 5: 9}), stages=(4, 5))
    assert [wide.get_submodule(path).conv.kernel_size for path in eca_blocks(wide)] == [(7,), (7,), (9,), (9,)]
    assert model.eval()(torch.randn(2, 3, 32, 32)).isfinite().all()
    with pytest.raises(UsageError, match="'eca' blocks have no option 'reduction'; they have: kernel"):
        senet.create_model("resnet18", block="eca", reduction=8)
    with pytest.raises(UsageError, match="kernel must be an integer of at least 1, got 0"):
        senet.BlockSpec("eca", kernel=0)


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_insertion_equals_the_zoo_and_starts_as_the_identity(placement: str) -> None:
    torch.manual_seed(0)
    host, images = senet.create_model("cifar_resnet20").eval(), torch.randn(2, 3, 16, 16)
    before = host(images)
    plan = senet.insert(host, "eca", placement=placement, init="identity")
    assert len(plan) == 9 == len(eca_blocks(host))
    torch.testing.assert_close(host(images), before)
    for block in (host.get_submodule(path) for path in eca_blocks(host)):
        torch.nn.init.ones_(block.conv.weight)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    zoo = senet.create_model("eca_cifar_resnet20", placement=placement).eval()
    gains = {site.gain for site in plan}
    zoo.load_state_dict(senet.rename_keys(host.state_dict(), plan, to="plain"), strict=False)
    assert gains == {2.0}
    senet.freeze_host(host)
    trained = [name for name, parameter in host.named_parameters() if parameter.requires_grad]
    assert len(trained) == 9
    senet.remove(host)
    assert torch.equal(host(images), before)


def test_profiled_and_recorded() -> None:
    model: Any = senet.create_model("eca_cifar_resnet20")
    profile = senet.profile(model, latency=False)
    plain = senet.profile(senet.create_model("cifar_resnet20"), latency=False)
    scaled = 3 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2)
    convolved = 3 * 3 * (16 + 32 + 64)  # kernels of 3
    assert profile.macs - plain.macs == scaled + convolved
    assert profile.share.squeeze_adds == scaled
    assert profile.params - plain.params == 9 * 3
    batches = [(torch.randn(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2]))]
    recorded = senet.record_excitations(model, batches)
    assert [block.name for block in recorded.blocks][:2] == ["SE_1_1", "SE_1_2"]
    assert [block.channels for block in recorded.blocks] == [16] * 3 + [32] * 3 + [64] * 3
    assert torch.equal(recorded.blocks[0].count, torch.full((3,), 2))


def test_inference_form_and_export_keep_it() -> None:
    model, images = senet.create_model("eca_cifar_resnet20").eval(), torch.randn(2, 3, 16, 16)
    optimized: Any = senet.optimize(model)
    torch.testing.assert_close(optimized(images), model(images), rtol=1e-4, atol=1e-4)
    kept = {row.kept for row in optimized.report.kept if row.kind == "ECA"}
    assert kept == {"the gate of ECA needs more than the means of its input"}
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-4)


def test_saved_loaded_and_missed_where_it_is_not_registered(tmp_path: Path) -> None:
    model, images = senet.create_model("cifar_resnet20", block=senet.BlockSpec("eca", kernel=5)).eval(), torch.randn(2, 3, 16, 16)
    senet.save_weights(model, tmp_path / "eca.safetensors")
    again: Any = senet.from_pretrained(tmp_path / "eca.safetensors")
    assert again.config.options["block"] == senet.BlockSpec("eca", kernel=5)
    assert torch.equal(again(images), model(images))
    host = senet.create_model("cifar_resnet20").eval()
    senet.insert(host, "eca")
    senet.save_weights(host, tmp_path / "inserted.safetensors")
    assert torch.equal(senet.from_pretrained(tmp_path / "inserted.safetensors")(images), host(images))
    del KINDS["eca"]
    for name in ("eca", "inserted"):
        with pytest.raises(UsageError, match=r"unknown block 'eca'.*; a block of your own: senet.register_block\('eca', its class\)"):
            senet.from_pretrained(tmp_path / f"{name}.safetensors")


def test_trained_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"training.epochs": 1, "data.batch_size": 256, "data.workers": 0}
    recipe = override(load_recipe("digits"), {**small, "model.block": "eca", "model.block.kernel": 3})
    assert recipe.model.block == senet.BlockSpec("eca", kernel=3)
    senet.train(recipe, folder=tmp_path / "run", progress=False)
    trained = senet.from_pretrained(tmp_path / "run" / "best.safetensors")
    assert len(eca_blocks(trained)) == 9
    flags = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    assert main(["compare", "digits", *flags, "--vary", "block=none,eca", "--seeds", "1", "--out", str(tmp_path), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [variant["label"] for variant in tree["variants"]] == ["plain", "ECA"]
