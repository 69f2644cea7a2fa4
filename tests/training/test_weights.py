"""Runs that begin from trained weights: what of them stands in a run's folder, and that going on loads nothing."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from made_runs import assert_same_run, tiny
from senet.errors import UsageError
from senet.models import create
from senet.recipe import ModelRecipe, Recipe, override
from senet.results.origin import facts_of, origin_differences, origin_of, read_origin
from senet.results.run_folder import RunFolder
from senet.tasks.classification import Classification
from senet.training import loop
from senet.training.interruption import Interrupted
from senet.training.job import Job, prepare
from senet.training.loop import train
from senet.training.step import train_step
from senet.weights.loaded import fingerprint_of_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of the plain network."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    torch.set_num_threads(1)
    train(tiny(model__block=None, training__epochs=1), folder=folder, progress=False)
    return folder


def test_the_first_validation_of_blocks_that_begin_as_the_identity_is_the_plain_networks(trained: Path, tmp_path: Path) -> None:
    still = {"model__weights": str(trained), "optim__lr": 0.0, "training__epochs": 1}
    plain = train(tiny(**still, model__block=None), folder=tmp_path / "plain", progress=False)
    blocks = train(tiny(**still, model__init="identity"), folder=tmp_path / "se", progress=False)
    assert blocks.metrics == plain.metrics
    drawn = train(tiny(**still, model__init="paper"), folder=tmp_path / "paper", progress=False)
    assert drawn.metrics != plain.metrics


def test_the_folder_says_what_was_loaded(trained: Path, tmp_path: Path) -> None:
    recipe = tiny(model__weights=str(trained), model__init="identity", training__epochs=1)
    result = train(recipe, folder=tmp_path / "run", progress=False)
    expected = {"source": str(trained / "best.safetensors"), "fingerprint": fingerprint_of_file(trained / "best.safetensors")}
    for told in (
        result.weights,
        json.loads((tmp_path / "run/result.json").read_text())["weights"],
        read_origin(RunFolder(tmp_path / "run")),
    ):
        assert told is not None
        assert expected.items() <= told.get("weights", told).items()
    assert RunFolder(tmp_path / "run").result().weights == result.weights


def interrupt_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    def interrupted(job: Job, *args):
        if job.state.step == step:
            raise Interrupted(2, "now")
        return train_step(job, *args)

    monkeypatch.setattr(loop, "train_step", interrupted)


@pytest.mark.parametrize("init", ["identity", "paper"])
def test_a_run_goes_on_bit_for_bit_though_the_file_is_gone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: str
) -> None:
    path = tmp_path / "plain.safetensors"
    shutil.copy(trained / "best.safetensors", path)
    recipe = tiny(model__weights=str(path), model__init=init)
    train(recipe, folder=tmp_path / "whole", progress=False)
    with monkeypatch.context() as patched:
        interrupt_before(patched, 6)
        with pytest.raises(Interrupted):
            train(recipe, folder=tmp_path / "run", progress=False)
    path.unlink()
    monkeypatch.setattr(create, "load_opened", None)
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert RunFolder(tmp_path / "run").result().weights == RunFolder(tmp_path / "whole").result().weights


def test_a_run_that_saved_nothing_yet_loads_them_again(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(model__weights=str(trained), model__init="identity", training__epochs=1)
    train(recipe, folder=tmp_path / "whole", progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(recipe, folder=tmp_path / "run", progress=False)
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_another_file_of_the_same_name_is_another_origin(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    shutil.copy(trained / "best.safetensors", path)
    recipe = tiny(model__weights=str(path), model__init="identity")
    job = prepare(recipe)
    facts = facts_of(job.source)
    before = origin_of(recipe, facts, 1, job.state.weights)
    assert origin_differences(before, origin_of(recipe, facts)) == []
    path.write_bytes(b"other")
    assert origin_differences(before, origin_of(recipe, facts)) == [f"the weights {path} are others"]
    path.unlink()
    assert origin_differences(before, origin_of(recipe, facts)) == []


def test_a_task_that_leaves_the_weights_out_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Classification.build

    def without(self: Classification, recipe, source, device=None):
        return build(self, override(Recipe(model=recipe), {"model.weights": None}).model, source, device)

    monkeypatch.setattr(Classification, "build", without)
    with pytest.raises(UsageError, match=r"Classification's build leaves model\.weights .* out"):
        prepare(tiny(model__weights=str(trained), model__init="identity"))


@pytest.mark.parametrize("option", ["encoder_weights", "backbone_weights", "weights"])
def test_another_file_for_a_part_is_another_origin(option: str, tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    path.write_bytes(b"one")
    recipe = Recipe(model=ModelRecipe("unet", options={option: str(path)}))
    facts = {"classes": [], "images": {}}
    before = origin_of(recipe, facts)
    assert before["weights"]["source"] == str(path)
    path.write_bytes(b"other")
    assert origin_differences(before, origin_of(recipe, facts)) == [f"the weights {path} are others"]
