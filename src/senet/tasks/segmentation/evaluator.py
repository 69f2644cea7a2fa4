"""Evaluator of masks: sums of pixels, boundaries and regions over images, which several processes add."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric as Pooled

from senet.data.batch import Batch
from senet.data.mask_classes import BACKGROUND
from senet.data.masks import IGNORE
from senet.recipe import SegmentationRecipe
from senet.results.tables import Tables
from senet.tasks.segmentation.boundary import boundary_score
from senet.tasks.segmentation.confusion import confusion, dice_of, iou_of, known_mean, percent
from senet.tasks.segmentation.regions import REGION_COUNTS, count_regions, largest_pixels, size_table
from senet.tasks.segmentation.volumes import VOLUME_DICE, ImageGroups, mean_volume_dice, volume_table


class Sums(Pooled):
    """Arrays that are added up, over batches and processes.

    Args:
        zeros: name -> the array before anything is added.
    """

    full_state_update = False

    def __init__(self, zeros: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.names = tuple(zeros)
        for name, array in zeros.items():
            self.add_state(name, torch.from_numpy(array.copy()), dist_reduce_fx="sum")

    def update(self, **arrays: np.ndarray) -> None:
        """Add arrays by name."""
        for name, array in arrays.items():
            sums = getattr(self, name)
            sums += torch.from_numpy(array).to(sums.device)

    def compute(self) -> dict[str, np.ndarray]:
        """Return the sums of all processes by name."""
        return {name: getattr(self, name).cpu().numpy() for name in self.names}


class MaskScores:
    """Evaluator of log-probabilities (K, H, W) of images: overlap of classes, boundaries, regions, and the mean negative log-likelihood.

    Args:
        classes: their names.
        plan: sizes of regions and tolerance of boundaries.
        device: where the sums of processes meet.
        groups: the volumes that images are slices of; None = images stand for themselves.
    """

    def __init__(self, classes: Sequence[str], plan: SegmentationRecipe, device: torch.device, groups: ImageGroups | None = None) -> None:
        self._classes, self._plan, self._groups = tuple(classes), plan, groups
        self._judged = judged_classes(classes)
        self._bounds = largest_pixels(plan.region_sizes)
        count = len(self._classes)
        self._sums = {
            "pixels": np.zeros((count, count), np.int64),
            "loss": np.zeros(1),
            "boundaries": np.zeros((count, 2)),
            "regions": np.zeros((len(self._bounds) + 1, len(REGION_COUNTS)), np.int64),
            "volumes": np.zeros((len(groups.names) if groups else 0, 3, count), np.int64),
        }
        self._pooled = Sums(self._sums).to(device)
        self._all: Mapping[str, np.ndarray] | None = None

    def update(self, outputs: Iterable[Tensor], batch: Batch) -> None:
        """Add a batch and its log-probabilities, (N, K, H, W) or (K, H, W) of each image."""
        for place, (logs, mask) in enumerate(zip(outputs, batch.targets, strict=True)):
            likely = logs.argmax(0).to(torch.uint8).cpu().numpy()
            truth = mask.cpu().numpy()
            pixels = confusion(truth, likely, len(self._classes))
            self._sums["pixels"] += pixels
            if self._groups is not None:
                self._sums["volumes"][self._groups.numbers[batch.indices[place]]] += np.stack(overlaps(pixels))
            labels = mask.to(torch.int64).clamp(max=len(self._classes) - 1)
            found = logs.gather(0, labels[None])[0].cpu().numpy()
            self._sums["loss"] -= found[truth != IGNORE].sum(dtype=np.float64)
            self._judge(truth, likely)

    def compute(self) -> dict[str, float]:
        """Return the loss and each metric, those in percent, over the images of all processes, which meet here."""
        self._pooled.update(**self._sums)  # once: what is sent to a device is waited for
        self._sums = {name: np.zeros_like(array) for name, array in self._sums.items()}
        self._all = sums = self._pooled.compute()
        hits, truth, predicted = (values[self._judged] for values in overlaps(sums["pixels"]))
        counted = sums["pixels"].sum()
        of_volumes = {} if self._groups is None else {VOLUME_DICE.name: mean_volume_dice(sums["volumes"], self._judged)}
        return {
            "loss": float(sums["loss"][0] / counted) if counted else np.nan,
            "dice": known_mean(dice_of(hits, truth, predicted)),
            "iou": known_mean(iou_of(hits, truth, predicted)),
            "global_dice": float(dice_of(hits.sum(), truth.sum(), predicted.sum())),
            "boundary_f": known_mean(_boundaries(sums["boundaries"])[self._judged]),
            **of_volumes,
        }

    def tables(self) -> Tables:
        """Return tables of the images that `compute` last judged.

        Returns:
            "class", each class's overlaps; "region size", see `size_table`; of volumes, "volume", see `volume_table`.
        """
        if self._all is None:
            self.compute()
        sums = self._all or {}
        hits, truth, predicted = overlaps(sums["pixels"])
        columns = {
            "dice": dice_of(hits, truth, predicted),
            "iou": iou_of(hits, truth, predicted),
            "boundary_f": _boundaries(sums["boundaries"]),
        }
        volumes = self._groups and {"volume": volume_table(sums["volumes"], self._groups.names, self._classes, self._judged)}
        return {
            "class": {
                name: {**{column: _known(values[row]) for column, values in columns.items()}, "pixels": int(truth[row])}
                for row, name in enumerate(self._classes)
            },
            "region size": size_table(sums["regions"], self._bounds, self._plan.region_sizes),
            **(volumes or {}),
        }

    def _judge(self, truth: np.ndarray, likely: np.ndarray) -> None:
        known = truth != IGNORE
        for index in self._judged:
            own, found = truth == index, (likely == index) & known
            if own.any() or found.any():
                self._sums["boundaries"][index] += boundary_score(own, found, known, self._plan.boundary_tolerance), 1
                self._sums["regions"] += count_regions(own, found, self._bounds)


def judged_classes(classes: Sequence[str]) -> list[int]:
    """Return the indices of the classes that have a part in means: all but background."""
    return [index for index, name in enumerate(classes) if name.lower() != BACKGROUND]


def overlaps(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each class the pixels that are found rightly, that there are, and that are predicted."""
    return np.diag(pixels), pixels.sum(1), pixels.sum(0)


def _boundaries(sums: np.ndarray) -> np.ndarray:
    """Return each class's mean boundary score in percent over the images where it is in truth or prediction; NaN where it is in none."""
    return percent(sums[:, 0], sums[:, 1])


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
