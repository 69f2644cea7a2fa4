"""The loss against its formula; what is counted, averaged, said and drawn of classes."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from senet.data.batch import Batch
from senet.data.source import DataSource, open_data
from senet.errors import UsageError
from senet.models.create import create_model
from senet.recipe import DataRecipe, ModelRecipe, Recipe, TrainingRecipe
from senet.tasks.classification import Accuracies, Classification, ClassProbability, TopClasses, create
from senet.tasks.image_task import all_outputs


@pytest.fixture(scope="module")
def source() -> DataSource:
    return open_data(DataRecipe())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_with_the_smoothed_target(smoothing: float) -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 1, 2])
    target = torch.full((5, 4), smoothing / 4, dtype=torch.float64)
    target[range(5), labels] += 1 - smoothing
    wanted = -(target * logits.log_softmax(1)).sum(1).mean()
    task = create(Recipe(training=TrainingRecipe(label_smoothing=smoothing)))
    assert task.loss(logits, labels)["loss"].item() == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["folder", "volumes"])
def test_a_folder_of_volumes_is_for_segmentation(tmp_path: Path, name: str) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz").touch()
    with pytest.raises(UsageError, match=r"senet train segmentation --data.name volumes --data.root DIR"):
        Classification().open(DataRecipe(name=name, root=str(tmp_path)))


def test_counts_sum_up_to_an_accuracy_in_percent() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [5.0, 0.0]], requires_grad=True)
    (count,) = Classification().counts(logits, torch.tensor([0, 0, 0])).values()
    assert count.item() == 200
    assert not count.requires_grad


class Says(nn.Module):
    """A network with fixed logits for each image, told apart by its first pixel."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[images[:, 0, 0, 0].long()]


def test_probabilities_are_averaged_over_networks_and_views() -> None:
    logits = torch.randn(2, 6, 4)
    models = [Says(table) for table in logits]
    views = torch.arange(6.0).reshape(3, 2, 1, 1, 1)
    wanted = logits.softmax(2).unflatten(1, (3, 2)).mean((0, 2))
    torch.testing.assert_close(Classification().average(models, views).exp(), wanted)
    torch.testing.assert_close(Classification().average(models[:1], views[:, 0]).exp(), logits[0, ::2].softmax(1))


@pytest.mark.parametrize("classes", [3, 7])
def test_accuracies_count_whatever_the_batches(classes: int) -> None:
    logs, labels = torch.randn(20, classes).log_softmax(1), torch.randint(classes, (20,))
    evaluator = Accuracies(classes, torch.device("cpu"))
    for part in (slice(0, 13), slice(13, 20)):
        evaluator.update(logs[part], Batch(torch.empty(0), labels[part], []))
    ranks = (logs > logs.gather(1, labels[:, None])).sum(1)
    wanted = {f"top{k}": 100 * (ranks < k).float().mean().item() for k in (1, 5)}
    wanted["loss"] = -logs.gather(1, labels[:, None]).mean().item()
    assert evaluator.compute() == pytest.approx(wanted)


def test_predictions_read_and_draw() -> None:
    found = Classification().predict(torch.tensor([[0.2, 0.7, 0.1]]).log(), ("cat", "dog", "eel"), top_k=2)
    assert found == TopClasses((ClassProbability("dog", pytest.approx(0.7)), ClassProbability("cat", pytest.approx(0.2))))
    assert str(found) == "dog 70.0 %  cat 20.0 %"
    assert str(Classification().predict(torch.zeros(1, 2), None, top_k=1)).startswith("0 ")
    image = Image.new("L", (90, 40), 128)
    drawn = found.draw(image)
    assert drawn.size == (90, 64)
    assert drawn.getpixel((5, 5)) == (128, 128, 128)
    for line in (40, 52):
        assert drawn.crop((0, line, 90, line + 12)).getextrema() != ((255, 255),) * 3  # something is written


def test_noise_trains_like_images(source: DataSource) -> None:
    task = Classification()
    first, again = task.noise(source, 12), task.noise(source, 12)
    assert torch.equal(first.images, again.images)
    assert first.images.shape == (12, 1, 8, 8)
    assert first.targets.tolist() == [*range(10), 0, 1]
    model = task.build(Recipe().model, replace(source, classes=source.classes[:3]))
    assert model(first.images).shape == (12, 3)
    assert math.isfinite(task.loss(model(first.images), first.targets % 3)["loss"].item())


@pytest.mark.parametrize(("classes", "found"), [(("cat",), "one class, 'cat'"), ((), "no classes")])
def test_one_class_alone_is_nothing_to_learn(classes: tuple[str, ...], found: str) -> None:
    source = replace(open_data(DataRecipe()), classes=classes)
    with pytest.raises(UsageError, match=f"^classification needs two classes or more, and digits has {found}"):
        Classification().build(ModelRecipe(), source, "meta")


def test_images_that_a_network_refuses_are_one_line():
    network = create_model("vgg16_bn", num_classes=2, device="meta")
    with pytest.raises(UsageError, match=r"VGG refuses images of 3 x 8 x 8: .*Output size is too small"):
        all_outputs([network], torch.empty(2, 3, 8, 8, device="meta"))
    with pytest.raises(UsageError, match=r"VGG refuses images of 1 x 64 x 64: "):
        all_outputs([network], torch.empty(2, 1, 64, 64, device="meta"))
