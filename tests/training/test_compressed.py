"""Runs whose network is made smaller before it trains: by which images, what stands in their folders, and how they go on."""

from pathlib import Path

import pytest
import torch

from made_pruning import prune_quickly, trained_tiny
from made_runs import assert_same_run, tiny, train_by_two, train_until
from senet.compression.pruning import prune as pruning, target
from senet.data.views import Views
from senet.errors import UsageError
from senet.measuring.parts import block_paths
from senet.measuring.timing import Ratio
from senet.models.create import from_pretrained
from senet.profiling.profiler import total_cost
from senet.recipe import Recipe
from senet.results.origin import read_origin
from senet.results.run_folder import RunFolder
from senet.training import compressed
from senet.training.job import prepare
from senet.training.loop import train
from senet.weights.store import find_config

SIZE = (1, 1, 4, 4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of an SE network."""
    return trained_tiny(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(autouse=True)
def _quick_and_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    prune_quickly(monkeypatch, latency=0.75)


def smaller(trained: Path, compress: str, **changes) -> Recipe:
    fields = {"model__weights": str(trained), "model__compress": compress, "training__epochs": 1}
    return tiny(**fields | changes)


@pytest.mark.parametrize(("compress", "cost", "share"), [("gate0.7", "macs", 0.7), ("taylor0.5@params:layer", "params", 0.5)])
def test_a_pruned_run_is_like_any_other(trained: Path, tmp_path: Path, compress: str, cost: str, share: float) -> None:
    before = (trained / "best.safetensors").read_bytes()
    result = train(smaller(trained, compress), folder=tmp_path / "run", progress=False)
    assert (trained / "best.safetensors").read_bytes() == before
    whole, network = from_pretrained(trained / "best.safetensors"), from_pretrained(tmp_path / "run/best.safetensors")
    left = getattr(total_cost(network, SIZE), cost) / getattr(total_cost(whole, SIZE), cost)
    assert 0.6 * share < left <= share
    origin = read_origin(RunFolder(tmp_path / "run"))
    assert origin is not None
    assert origin["compressed"]["steps"] == find_config(network).options["reduced"]
    assert origin["compressed"]["found"]["shares"][cost] == pytest.approx(left)
    assert result.weights is not None
    assert result.weights["source"] == str(trained / "best.safetensors")


def test_a_folded_run_trains_on_without_blocks(trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(smaller(trained, "fold100"), folder=tmp_path / "run", progress=True)
    assert "fold100: 9 of 9 blocks folded" in capfd.readouterr().err
    whole, network = from_pretrained(trained / "best.safetensors"), from_pretrained(tmp_path / "run/best.safetensors")
    assert [len(block_paths(model)) for model in (whole, network)] == [9, 0]
    origin = read_origin(RunFolder(tmp_path / "run"))
    assert origin is not None
    assert len(origin["compressed"]["steps"][0]["folded"]) == len(origin["compressed"]["found"]["folds"]) == 9


def test_a_run_goes_on_bit_for_bit_and_looks_for_nothing_again(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = smaller(trained, "gate0.7", training__epochs=2)
    train(recipe, folder=tmp_path / "whole", progress=False)
    train_until(6, recipe, tmp_path / "run")
    monkeypatch.setattr(compressed, "make_smaller", None)
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_whose_origin_is_lost_says_so(trained: Path, tmp_path: Path) -> None:
    train_until(1, smaller(trained, "l1_0.7"), tmp_path / "run")
    (tmp_path / "run/origin.json").write_text((trained / "origin.json").read_text())
    with pytest.raises(UsageError, match=r"origin\.json does not say how its network was made smaller"):
        train(resume=tmp_path / "run", progress=False)


def test_images_are_those_of_training_without_augmentation(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MEASURED_IMAGES", 100)
    job = prepare(tiny())
    fixed = job.task, job.source, job.recipe.data, job.fabric.device
    images = compressed.training_images(*fixed, 0)
    assert len(images) == 100
    assert images.chosen == compressed.training_images(*fixed, 0).chosen != compressed.training_images(*fixed, 1).chosen
    (batch,) = images.batches()
    transform = job.task.eval_transform(job.source.input, Views())
    for place in (0, 99):
        index = images.chosen[place]
        image, target = transform(job.source.train.read(index), job.source.train.targets[index])
        assert torch.equal(batch.images[place], image)
        assert batch.targets[place] == target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__weights": None}, r"makes a trained network smaller: name its weights, --model\.weights RUN"),
        ({"model__compress": "l1_0.01"}, r"model\.compress l1_0\.01: the macs cannot come to 0\.01"),
    ],
)
def test_what_cannot_be_is_refused_before_a_folder_is_begun(trained: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(smaller(trained, "l1_0.7", **changes), folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_one_network(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(smaller(trained, "gate0.7").to_yaml())
    train_by_two(["recipe.yaml", "--folder", "run"], tmp_path)
    whole, network = from_pretrained(trained / "best.safetensors"), from_pretrained(tmp_path / "run/best.safetensors")
    assert total_cost(network, SIZE).macs <= 0.7 * total_cost(whole, SIZE).macs
    origin = read_origin(RunFolder(tmp_path / "run"))
    assert origin is not None
    assert origin["compressed"]["steps"] == find_config(network).options["reduced"]
    assert origin["processes"] == 2


def test_latency_is_that_of_as_many_images_as_the_recipe_says(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def half(before: object, after: object, images: torch.Tensor, **_: object) -> Ratio:
        timed.append(len(images))
        return Ratio(0.5, 0.5, 0.5, 0.5)

    monkeypatch.setattr(target, "latency_ratio", half)
    monkeypatch.setattr(pruning, "latency_ratio", half)
    train(smaller(trained, "l1_0.75@latency5"), folder=tmp_path / "run", progress=False)
    assert set(timed) == {5}
