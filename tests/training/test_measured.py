"""The images that a changed network is measured on: as `senet.evaluate` sees them, cut in two, read once, for tasks of every kind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import senet
from made_analyses import written
from made_runs import tiny
from senet.data.source import ArrayImages
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.training import measured
from senet.training.evaluate import evaluate
from senet.training.measured import ValidationSet
from senet.training.members import load_members
from tasks.detection.made_rectangles import SMALL_DETECTOR, tiny_boxes
from tasks.regression_task import Ink
from tasks.segmentation.made_masks import tiny_masks

RECIPES: dict[str, Callable[[], Recipe]] = {
    "classification": tiny,
    "segmentation": tiny_masks,
    "detection": lambda: tiny_boxes(model__name="faster_rcnn", model__options=SMALL_DETECTOR),
    "regression": lambda: tiny(task=f"{Path(__file__).parents[1] / 'tasks/regression_task.py'}:ink"),
}


class InkByImage(Ink):
    """The user's task that judges single images, too."""

    def image_scores(self, outputs, batch, classes):
        return (outputs[:, 0] - batch.targets).abs()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tiny(), tmp_path_factory.mktemp("digits") / "w.safetensors")[0]


@pytest.mark.parametrize("name", RECIPES)
def test_the_metric_is_that_of_an_evaluation(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]()
    path, said = written(recipe, tmp_path / "w.safetensors")
    images = ValidationSet.of(path, said)
    (member,) = load_members(path, images.device)
    metric = images.task.metrics[0]
    found = [images.measure(member.model) for _ in range(2)]
    wanted = evaluate(path, images.recipe, task=recipe.task).metrics[metric.name]
    assert [one.value for one in found] == [wanted, wanted]
    assert (found[0].metric, found[0].unit, found[0].higher_is_better) == (metric.title, metric.unit, metric.higher_is_better)
    assert (found[0].images is not None) == (name == "classification")


@torch.inference_mode()
def test_each_image_is_right_or_wrong(digits: Path) -> None:
    images = ValidationSet.of(digits, limit=60)
    model = senet.from_pretrained(digits)
    found = images.measure(model).images
    wanted = [
        100.0 * (model(image[None]).argmax() == label)
        for inputs, labels in images.labelled()
        for image, label in zip(inputs, labels, strict=True)
    ]
    assert found is not None
    assert found.tolist() == [float(one) for one in wanted]
    assert 0 < found.mean() < 100


def test_scores_of_a_users_task_are_kept_where_their_mean_is_the_metric(digits: Path, tmp_path: Path) -> None:
    recipe = RECIPES["regression"]()
    path, said = written(recipe, tmp_path / "w.safetensors")
    images = replace(ValidationSet.of(path, said), task=InkByImage())
    scores = images.measure(senet.from_pretrained(path))
    assert scores.images is not None
    assert len(scores.images) == len(images)
    assert scores.images.mean().item() == pytest.approx(scores.value, rel=1e-6)
    assert not scores.higher_is_better


def test_halves_are_disjoint_cover_all_and_follow_the_seed(digits: Path) -> None:
    images = ValidationSet.of(digits, limit=31)
    one, other = images.halves()
    assert (len(one), len(other)) == (16, 15)
    assert sorted(one.chosen + other.chosen) == list(images.chosen)
    assert [half.chosen for half in images.halves()] == [one.chosen, other.chosen]
    assert images.halves(1)[0].chosen != one.chosen
    model = senet.from_pretrained(digits)
    parts = {index: score for half in (one, other) for index, score in zip(half.chosen, by_image(half, model), strict=True)}
    assert [parts[index] for index in images.chosen] == by_image(images, model)
    with pytest.raises(UsageError, match="one validation image cannot be cut"):
        ValidationSet.of(digits, limit=1).halves()


def test_a_limit_takes_images_of_all_classes(digits: Path) -> None:
    images, every = ValidationSet.of(digits, limit=100), ValidationSet.of(digits)
    assert images.chosen == ValidationSet.of(digits, limit=100).chosen
    assert len({int(label) for _, labels in images.labelled() for label in labels}) == 10
    assert ValidationSet.of(digits, limit=10**6).chosen == every.chosen
    assert list(every.chosen) == list(range(len(every.source.val)))
    model = senet.from_pretrained(digits)
    whole = by_image(every, model)
    assert by_image(images, model) == [whole[index] for index in images.chosen]
    with pytest.raises(UsageError, match="limit must be"):
        ValidationSet.of(digits, limit=0)


@pytest.mark.parametrize(("kept", "reads"), [(measured.KEPT_BYTES, 1), (300, 2)])
def test_images_that_fit_are_read_once(kept: int, reads: int, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "KEPT_BYTES", kept)
    asked: list[int] = []
    read = ArrayImages.read
    monkeypatch.setattr(ArrayImages, "read", lambda self, index: asked.append(index) or read(self, index))
    images = ValidationSet.of(digits, limit=5)
    next(images.batches())
    asked.clear()
    first, second = list(images.batches()), list(images.batches())
    assert asked == [*images.chosen] * reads
    assert all(torch.equal(*pair) for pair in zip((one.images for one in first), (one.images for one in second), strict=True))


def test_what_is_kept_is_not_the_workers(digits: Path) -> None:
    images = ValidationSet.of(digits, {"data.workers": 1, "data.eval_batch_size": 3}, limit=5)
    first = list(images.batches())
    assert first[0].images.is_shared()
    kept = list(images.batches())
    assert not any(part.is_shared() for batch in kept for part in (batch.images, batch.targets))
    assert all(torch.equal(a.images, b.images) and a.indices == b.indices for a, b in zip(first, kept, strict=True))


def test_gradients_may_be_taken_through_images_that_were_measured_first(digits: Path) -> None:
    images = ValidationSet.of(digits, limit=20)
    model = senet.from_pretrained(digits)
    images.measure(model)
    seen, labels = next(iter(images.labelled()))
    nn.functional.cross_entropy(model(seen), labels).backward()
    assert not seen.is_inference()


def test_a_loaded_member_is_taken_as_it_is(digits: Path) -> None:
    (member,) = load_members(digits, torch.device("cpu"))
    images = ValidationSet.of(member, limit=20)
    assert images.chosen == ValidationSet.of(digits, limit=20, device="cpu").chosen
    assert images.device == torch.device("cpu")


def by_image(images: ValidationSet, model: nn.Module) -> list[float]:
    scores = images.measure(model).images
    assert scores is not None
    return scores.tolist()
