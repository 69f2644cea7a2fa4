"""The seam between what is predicted and everything else: the loop, evaluation, comparison and commands ask a task and know none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from senet.data.batch import Batch as Batch
from senet.data.preparation import Preparation
from senet.data.source import DataSource
from senet.recipe import DataRecipe, ModelRecipe
from senet.results.curves import Curves
from senet.results.metric import Metric as Metric
from senet.results.tables import Tables as Tables


class Evaluator(Protocol):
    """Sums over validation images, from which the metrics follow; several processes add theirs."""

    def update(self, outputs: Any, batch: Batch) -> None:
        """Add a batch on the evaluator's device, with what the task's `average` gave for its images."""
        ...

    def compute(self) -> Mapping[str, float]:
        """Return "loss" and the value of each of the task's metrics over the images of all processes."""
        ...


class Tabulated(Protocol):
    """Further part of an evaluator that tells more than its metrics; one without it tells nothing more."""

    def tables(self) -> Tables:
        """Return what is known of parts of the images, of all processes: table -> row -> column -> figure, such as the Dice of each class.

        It is called once, in every process, after `compute`. An int counts something of the images, a float is what predictions reach, None
        says that there is nothing to measure; a column that is called like a metric is shown in its unit.
        """
        ...


class Curved(Protocol):
    """Further part of an evaluator that tells curves, such as precision over recall; one without it tells none."""

    def curves(self) -> Curves:
        """Return the curves of the images of all processes: name of a chart -> its curves, see `senet.results.curves.CurveChart`.

        It is called once, in every process, after `compute`.
        """
        ...


class Prediction(Protocol):
    """Prediction for one image; `str()` gives it in one line."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        ...

    def draw(self, image: Image.Image) -> Image.Image:
        """Return a copy of the image that shows the prediction."""
        ...


class Filed(Protocol):
    """Further part of a prediction that has a file format of its own; one without it is written as JSON."""

    @property
    def suffix(self) -> str:
        """How the name of its file ends: ".png"."""
        ...

    def write(self, path: Path) -> None:
        """Write the file; its format does not depend on the path."""
        ...


@dataclass(frozen=True)
class ImagePictures:
    """Pictures of one image with what several networks predict of it.

    Args:
        shared: name of a picture that all networks share -> the picture: {"image": ..., "truth": ...}; there is one or more.
        networks: of each network, in order, the name of a picture -> the picture: {"prediction": ..., "difference": ...}.
        legend: what a colour means -> (red, green, blue).
        note: what else a reader should know of them, in a few words: which slice they show.
    """

    shared: Mapping[str, Image.Image]
    networks: Sequence[Mapping[str, Image.Image]]
    legend: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    note: str = ""


class WithTargets(Protocol):
    """Further part of a task whose network is called with more than images, such as a detector, which computes its losses itself."""

    def inputs(self, images: Any, targets: Any) -> tuple[Any, ...]:
        """Return what the network is called with in training, and what `average` gets behind the networks.

        Args:
            images: of a batch, on the network's device.
            targets: of the same batch. For a prediction they are what `eval_transform` makes of None as a target.
        """
        ...


class ScoredByImage(Protocol):
    """Further part of a task that judges single images; one without it judges none, and its metrics have no interval over images."""

    def image_scores(self, outputs: Any, batch: Batch, classes: Sequence[str]) -> Sequence[float]:
        """Return the primary metric of each image of a batch by itself; NaN where an image has nothing to judge.

        Args:
            outputs: what `average` gave for the batch's images.
            batch: on the networks' device.
            classes: names of the source's classes.
        """
        ...


class Pictured(ScoredByImage, Protocol):
    """Further part of a task that shows single images: the best, the median and the worst in a comparison; a task without it shows none."""

    def pictures(self, image: Any, batch: Batch, predictions: Sequence[Any], classes: Sequence[str], *, side: int) -> ImagePictures:
        """Return pictures of one image: of the truth, and of what each network predicts.

        Args:
            image: what the source's `read` gave.
            batch: the same image and its target as `eval_transform` and `collate` made them.
            predictions: what `predict` said for each network; the first is the baseline, which others may be shown against.
            classes: names of the source's classes.
            side: pixels of the longest side that pictures should have at most; larger ones are reduced.
        """
        ...


class Task(Preparation, Protocol):
    """All that depends on what is predicted."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What predictions are judged by; the first is primary: it chooses the best weights and is compared between networks."""
        ...

    def open(self, recipe: DataRecipe) -> DataSource:
        """Return the images and targets that a recipe names.

        Raises:
            UsageError: if they cannot be opened, or are of no use for this task.
        """
        ...

    def build(self, recipe: ModelRecipe, source: DataSource, device: torch.device | str | None = None) -> nn.Module:
        """Return the recipe's network with the outputs that the source's targets need.

        Raises:
            UsageError: if there is no such network.
        """
        ...

    def loss(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Return means over a batch as scalars: "loss" is minimised, others are logged beside it as train_<name>."""
        ...

    def counts(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Return sums over a batch, as scalars, of what training logs as a mean over images: train_<name>."""
        ...

    def average(self, models: Sequence[nn.Module], images: Tensor) -> Any:
        """Return what networks in evaluation mode predict together, averaged over them and over all views of each image.

        Args:
            models: one network or several.
            images: (N, C, H, W), or (N, views, C, H, W).
        """
        ...

    def evaluator(self, source: DataSource, device: torch.device) -> Evaluator:
        """Return a fresh evaluator for predictions of the source's images."""
        ...

    def predict(self, outputs: Any, classes: Sequence[str] | None, *, top_k: int) -> Prediction:
        """Return what the outputs of `average` say about one image.

        Args:
            outputs: those of a batch of one image.
            classes: names of the classes; None where there are none.
            top_k: how many answers to give, where a task ranks several.
        """
        ...

    def image_classes(self, batch: Batch) -> Tensor | None:
        """Return the classes by which gates are told apart; None where images have none.

        Returns:
            (N,) int64, the class of each image as a whole; or (N, K) int64, how much each image holds of every class, such as its pixels.
        """
        ...

    def noise(self, source: DataSource, count: int) -> Batch:
        """Return a batch that training takes like the source's own, of noise and always the same: for timing."""
        ...
