"""Top-1 and top-5 of trained networks: one crop or ten, one scale or several, one network or the average of several."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy

from senet.data.loaders import Batch, CorruptLog, eval_loader
from senet.data.source import DataSource, open_data
from senet.data.transforms import EvalTransform, eval_transform
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.spec import InputSpec
from senet.training.ensemble import Ensemble, Networks, choose_device, common_input, load_members

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Evaluation:
    """Hold what an evaluation found.

    Args:
        top1: accuracy in percent.
        top5: share of images whose class is among the five likeliest (among all, for fewer classes), in percent.
        loss: mean negative log-likelihood.
        images: how many images were evaluated.
        corrupt: names of those that could not be read.
    """

    top1: float
    top5: float
    loss: float
    images: int
    corrupt: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def table(self) -> "Table":
        """Return a table for the terminal."""
        from rich.table import Table

        table = Table()
        for heading in ("images", "top-1 %", "top-5 %", "top-1 error %", "loss"):
            table.add_column(heading, justify="right")
        table.add_row(str(self.images), f"{self.top1:.2f}", f"{self.top5:.2f}", f"{100 - self.top1:.2f}", f"{self.loss:.4f}")
        table.caption = f"{len(self.corrupt)} images could not be read: {', '.join(self.corrupt)}" if self.corrupt else None
        return table


@dataclass(frozen=True)
class Views:
    """Give all views of an image: the crops at each scale, (views, C, size, size)."""

    transforms: tuple[EvalTransform, ...]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return (views, C, size, size) float32."""
        views = [transform(image) for transform in self.transforms]
        return torch.cat([view if view.ndim == 4 else view[None] for view in views])


def evaluate(
    models: Networks,
    data: DataSource | DataRecipe,
    *,
    crops: str = "centre",
    scales: Sequence[int] | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str | None = None,
    watch: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluation:
    """Measure a network, or the average of several networks' probabilities, on validation images.

    Args:
        models: networks, weights files or run folders. What a file says about its input wins over what the data say.
        data: a source, or the recipe to open one.
        crops: "centre", or "ten": corners and centre, each mirrored too.
        scales: shorter sides, in pixels, to which images are resized before they are cropped; probabilities are averaged over all views.
        size: side of the crop, in pixels; None = the network's. Anything that the network accepts.
        batch_size: images in a batch; None = the recipe's.
        workers: loader processes; None = the recipe's.
        device: where to compute; None = where the network is, for files a GPU if there is one.
        watch: passes the batches on, e.g. to show progress.

    Raises:
        UsageError: if networks and data do not belong together, or a scale is below the size.
        DataError: if more than data.max_corrupt of the images cannot be read.
    """
    recipe = data if isinstance(data, DataRecipe) else DataRecipe()
    source = open_data(data) if isinstance(data, DataRecipe) else data
    recipe = replace(recipe, eval_batch_size=batch_size or recipe.eval_batch_size, workers=recipe.workers if workers is None else workers)
    device = choose_device(models, device)
    members = load_members(models, device, classes=source.classes)
    views = Views(_transforms(common_input(members, source.input), crops, scales, size))
    batches = eval_loader(source, recipe, transform=views)
    corrupt = CorruptLog(recipe.max_corrupt, len(source.val))
    with Ensemble([member.model for member in members]) as ensemble:
        return score(ensemble, watch(batches), classes=len(source.classes), device=device, corrupt=corrupt)


def score(
    log_probabilities: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    *,
    classes: int,
    device: torch.device,
    corrupt: CorruptLog,
) -> Evaluation:
    """Measure a function on batches; several processes pool what each saw of its share.

    Args:
        log_probabilities: maps a batch's images, on `device`, to (N, classes).
        batches: what to measure it on.
        classes: number of classes.
        device: where the images go.
        corrupt: takes note of unreadable images, which are left out.
    """
    top1, top5 = (MulticlassAccuracy(classes, min(k, classes), "micro", validate_args=False).to(device) for k in (1, 5))
    loss, images = (SumMetric(nan_strategy="disable").to(device) for _ in range(2))  # MeanMetric would drop its weights here
    with torch.inference_mode():
        for batch in batches:
            corrupt.add(batch.corrupt)
            count = len(batch.labels)
            if count == 0:
                continue
            labels = batch.labels.to(device, non_blocking=True)
            logs = log_probabilities(batch.images.to(device, non_blocking=True))
            top1.update(logs, labels)
            top5.update(logs, labels)
            loss.update(nn.functional.nll_loss(logs, labels, reduction="sum"))
            images.update(count)
    return Evaluation(
        top1=100 * top1.compute().item(),
        top5=100 * top5.compute().item(),
        loss=loss.compute().item() / images.compute().item(),
        images=int(images.compute()),
        corrupt=tuple(sorted(corrupt.names)),
    )


def _transforms(wanted: InputSpec, crops: str, scales: Sequence[int] | None, size: int | None) -> tuple[EvalTransform, ...]:
    side = size or wanted.size
    # Another size keeps the share of the image that the crop sees.
    scales = scales or (max(side, round(wanted.resize * side / wanted.size)),)
    for scale in scales:
        if scale < side:
            raise UsageError(f"scale {scale} is below the crop's size {side}; give larger scales, or a smaller size")
    return tuple(eval_transform(replace(wanted, size=side, resize=scale), crops) for scale in scales)
