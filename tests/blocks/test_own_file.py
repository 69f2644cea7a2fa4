"""A block in a user's file, named path/to/file.py:Class, goes wherever a kind goes, and runs only because somebody named it."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import senet
from senet.blocks import kinds
from senet.blocks.kinds import is_block
from senet.cli.main import main
from senet.errors import UsageError
from senet.insertion.plan import InsertPlan
from senet.publishing.papers import papers
from senet.recipe import Recipe, build_recipe, load_recipe, override
from senet.spec import block_class

CODE = (Path(__file__).parent / "eca.py").read_text(encoding="utf-8")
SMALL = {"training.epochs": 1, "data.batch_size": 256, "data.workers": 0}
FLAGS = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a class in a file of the working directory, which no test has run."""
    name = f"{tmp_path.name.replace('-', '_')}.py"
    (tmp_path / name).write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return f"{name}:ECA"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a process in which nobody has named a file."""
    monkeypatch.setattr("senet.userfile._named", set())
    monkeypatch.setattr(kinds, "_in_files", {})


def blocks(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if is_block(module)]


def test_in_networks(kind: str) -> None:
    model: Any = senet.create_model("cifar_resnet20", block=kind)
    assert len(blocks(model)) == 9
    assert model.config.name == "cifar_resnet20"
    assert model.config.options["block"].kind == kind
    host: Any = senet.create_model("cifar_resnet20")
    assert len(senet.insert(host, senet.BlockSpec(kind, kernel=5), init="identity")) == 9
    assert {block.conv.kernel_size for block in blocks(host)} == {(5,)}
    assert pickle.loads(pickle.dumps(senet.BlockSpec(kind, kernel=5))) == senet.BlockSpec(kind, kernel=5)
    assert not [name for name in senet.list_models() if "ECA" in name]


def test_options_are_checked_when_the_class_is_there(kind: str) -> None:
    early = senet.BlockSpec(kind, kernel=0), senet.BlockSpec(kind, kernels=3)
    for spec, words in zip(early, ("kernel must be an integer of at least 1, got 0", "have no option 'kernels'"), strict=True):
        with pytest.raises(UsageError, match=words):
            senet.create_model("cifar_resnet20", block=spec)
    with pytest.raises(UsageError, match="kernel must be an integer of at least 1, got 0"):
        senet.BlockSpec(kind, kernel=0)
    with pytest.raises(UsageError, match=r"'model.block.kernels' \(did you mean 'kernel'\?\)"):
        build_recipe({"model": {"block": {"kind": kind, "kernels": 5}}})


def test_a_recipe_alone_runs_nothing(kind: str) -> None:
    file = Path(kind.partition(":")[0])
    file.write_text("raise RuntimeError('was run')\n")
    recipe = build_recipe({"model": {"block": {"kind": kind, "kernel": 5}}})
    assert Recipe.to_dict(recipe)["model"]["block"] == {"kind": kind, "kernel": 5}
    assert override(recipe, {"seed": 1}).model.block == recipe.model.block
    with pytest.raises(RuntimeError, match="was run"):
        senet.create_model("cifar_resnet20", block=recipe.model.block)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("class ECA", "class Other"), r"has no function or class 'ECA'.*Other"),
        (('    title = "ECA"\n', ""), "ECA does not say 'title'"),
        (("(nn.Module)", ""), "a block is a sub-class of torch.nn.Module, got <class"),
    ],
)
def test_a_class_that_is_no_block_is_one_line(kind: str, change: tuple[str, str], words: str) -> None:
    Path(kind.partition(":")[0]).write_text(CODE.replace(*change))
    with pytest.raises(UsageError, match=words):
        senet.create_model("cifar_resnet20", block=kind)


def test_files_that_need_it_do_not_run_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo, images = senet.create_model("cifar_resnet20", block=senet.BlockSpec(kind, kernel=5)).eval(), torch.randn(2, 3, 16, 16)
    host = senet.create_model("cifar_resnet20").eval()
    plan = senet.insert(host, kind)
    senet.save_weights(zoo, "zoo.safetensors")
    senet.save_weights(host, "host.safetensors")
    forget(monkeypatch)
    for file in ("zoo.safetensors", "host.safetensors"):
        with pytest.raises(UsageError, match=f"blocks of {kind}, and a file of weights or a plan is no reason to run that code") as caught:
            senet.from_pretrained(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="is no reason to run that code"):
        InsertPlan.from_json(plan.to_json())
    assert papers("cifar_resnet20", [kind]) == papers("cifar_resnet20")
    block_class(kind)
    assert len(papers("cifar_resnet20", [kind])) == len(papers("cifar_resnet20")) + 1
    assert torch.equal(senet.from_pretrained("zoo.safetensors")(images), zoo(images))
    assert torch.equal(senet.from_pretrained("host.safetensors")(images), host(images))
    assert InsertPlan.from_json(plan.to_json()) == plan


def test_on_the_command_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    vary = ["--vary", f"block=none,{kind}", "--seeds", "1", "--out", "runs", "--json"]
    assert main(["compare", "digits", *FLAGS, *vary]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [variant["label"] for variant in tree["variants"]] == ["plain", "ECA"]
    weights = next(path for path in tmp_path.rglob("best.safetensors") if "eca" in str(path))
    forget(monkeypatch)
    assert main(["eval", str(weights), "--quiet", "--json"]) == 2
    assert f"--block {kind}" in capsys.readouterr().err
    assert main(["eval", str(weights), "--quiet", "--json", "--block", kind]) == 0
    assert main(["insert", "torchvision/resnet18", "--block", kind, "--dry-run", "--json"]) == 0
    assert main(["profile", "cifar_resnet20", "--block", kind, "--model.block.kernel", "5", "--json"]) == 0


def test_in_a_recipe(kind: str) -> None:
    recipe = override(load_recipe("digits"), {**SMALL, "model.block": kind, "model.block.kernel": 5})
    assert recipe.model.block == senet.BlockSpec(kind, kernel=5)
    senet.train(recipe, folder=Path("run"), progress=False)
    trained = senet.from_pretrained(Path("run") / "best.safetensors")
    assert {block.conv.kernel_size for block in blocks(trained)} == {(5,)}
