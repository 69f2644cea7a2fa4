"""Classification: one class an image, judged by top-1 and top-5 accuracy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy

from senet.data.batch import Batch
from senet.data.box_folder import BOXES
from senet.data.recognised import LOOKS, recognised
from senet.data.shards.source import check_task
from senet.data.source import DataSource
from senet.errors import UsageError
from senet.recipe import DataRecipe, Recipe
from senet.results.metric import top_accuracy
from senet.tasks.image_task import ImageTask, all_outputs, captioned, noise_images

RANKS = (1, 5)
"""Among how many of the likeliest classes the right one counts."""


class Classification(ImageTask):
    """One class an image, by cross-entropy with label smoothing if asked (Szegedy et al., 1512.00567, section 7).

    Args:
        label_smoothing: share of the target that is spread over all classes.
    """

    metrics = tuple(map(top_accuracy, RANKS))

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def open(self, recipe: DataRecipe) -> DataSource:
        """Return the images and classes that a recipe names.

        Raises:
            UsageError: if they cannot be opened, or have masks and no classes.
        """
        if recipe.name in (*LOOKS, *BOXES):
            raise UsageError(
                f"data.name {recipe.name!r} gives {'boxes' if recipe.name in BOXES else 'masks'}, and classification learns a class an "
                f"image; {_other_task(recipe.name)}"
            )
        try:
            source = super().open(recipe)
        except UsageError as error:
            if recipe.name == "folder" and (found := recognised(recipe.root)) in LOOKS:
                raise UsageError(f"{error}; it holds {found}, and those are for another task: {_other_task(found)}") from error
            raise
        check_task(source, "classification")
        return source

    def num_outputs(self, source: DataSource) -> int:
        """Return one output a class.

        Raises:
            UsageError: for fewer than two classes, of which any network is always right.
        """
        if len(source.classes) < 2:
            found = f"one class, {source.classes[0]!r}" if source.classes else "no classes"
            raise UsageError(f"classification needs two classes or more, and {source.name} has {found}: there is nothing to tell apart")
        return super().num_outputs(source)

    def loss(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Return the mean loss of logits (N, classes) and classes (N,)."""
        return {"loss": functional.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)}

    def counts(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Return the images whose class came first, times 100: the mean over images is the accuracy in percent."""
        return {self.metrics[0].name: (outputs.detach().argmax(1) == targets).sum() * 100.0}

    def image_classes(self, batch: Batch) -> Tensor:
        """Return the classes."""
        return batch.targets

    def average(self, models: Sequence[nn.Module], images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities over networks and views, (N, classes) float32."""
        logs = all_outputs(models, images).log_softmax(3)
        return logs.logsumexp((0, 2)) - math.log(logs.shape[0] * logs.shape[2])

    def evaluator(self, source: DataSource, device: torch.device) -> "Accuracies":
        """Return a fresh evaluator of log-probabilities."""
        return Accuracies(len(source.classes), device)

    def image_scores(self, outputs: Tensor, batch: Batch, classes: Sequence[str]) -> list[float]:
        """Return 100 for each image whose class comes first, else 0: their mean is the top-1 accuracy in percent."""
        return [100.0 * hit for hit in (outputs.argmax(1) == batch.targets).tolist()]

    def predict(self, outputs: Tensor, classes: Sequence[str] | None, *, top_k: int = 5) -> "TopClasses":
        """Return the likeliest classes of one image, from its log-probabilities (1, classes); unnamed classes are numbered."""
        probabilities = outputs[0].exp()
        if classes and len(classes) != len(probabilities):
            raise UsageError(
                f"the weights name {len(classes)} classes, but the network has {len(probabilities)} outputs: their names are wrong"
            )
        values, indices = probabilities.topk(min(top_k, len(probabilities)))
        names = [str(classes[index] if classes else index) for index in indices.tolist()]
        return TopClasses(tuple(map(ClassProbability, names, values.tolist())))

    def noise(self, source: DataSource, count: int) -> Batch:
        """Return noise whose classes come in turn."""
        return Batch(noise_images(source, count), torch.arange(count) % len(source.classes), [])


def _other_task(source: str) -> str:
    if source in BOXES:
        return "the class and box of every object are learnt by: senet train detection --data.root DIR"
    return f"the class of every pixel is learnt by: senet train segmentation --data.name {source} --data.root DIR"


class Accuracies:
    """Evaluator of log-probabilities (N, classes): top-1, top-5 (of all, for fewer classes) and the mean negative log-likelihood.

    Args:
        classes: number of classes.
        device: where the sums are.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        ranks = {top_accuracy(k).name: min(k, classes) for k in RANKS}
        self._accuracies = {name: MulticlassAccuracy(classes, k, "micro", validate_args=False).to(device) for name, k in ranks.items()}
        self._loss = SumMetric(nan_strategy="disable").to(device)  # not a mean: MeanMetric would drop its weights here
        self._images = SumMetric(nan_strategy="disable").to(device)
        self._own = 0

    def update(self, outputs: Tensor, batch: Batch) -> None:
        """Add a batch and its log-probabilities."""
        for accuracy in self._accuracies.values():
            accuracy.update(outputs, batch.targets)
        self._loss.update(functional.nll_loss(outputs, batch.targets, reduction="sum"))
        self._own += len(batch.targets)

    def compute(self) -> dict[str, float]:
        """Return the loss, and accuracies in percent."""
        self._images.update(self._own)  # once: a number sent to the device is waited for
        self._own = 0
        values = {name: 100 * accuracy.compute().item() for name, accuracy in self._accuracies.items()}
        return {"loss": self._loss.compute().item() / self._images.compute().item(), **values}


@dataclass(frozen=True)
class ClassProbability:
    """One class and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class TopClasses:
    """Likeliest classes of an image, by falling probability."""

    guesses: tuple[ClassProbability, ...]

    def __str__(self) -> str:
        """Return the classes with their probabilities in one line."""
        return "  ".join(f"{guess.name} {100 * guess.probability:.1f} %" for guess in self.guesses)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def draw(self, image: Image.Image) -> Image.Image:
        """Return the image in RGB with the classes below it, one a line."""
        return captioned(image, [str(TopClasses((guess,))) for guess in self.guesses])


def create(recipe: Recipe) -> Classification:
    """Return the task of a recipe."""
    return Classification(recipe.training.label_smoothing)
