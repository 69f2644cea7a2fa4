"""Single validation images to be looked at: the best, the median and the worst, with what each variant predicts of them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from senet.analysis.heat_map import heat_map
from senet.analysis.spatial import SpatialGates, record_spatial_gates, spatial_gate_paths
from senet.comparison.picture_folder import SIDE, PictureFolder, part_of_name
from senet.comparison.prepare import PreparedVariant
from senet.data.batch import Batch
from senet.data.fingerprint import fingerprint
from senet.data.loaders import DataError, EvalSamples, eval_loader
from senet.data.preview import preview
from senet.data.source import ImageSet
from senet.data.views import Views
from senet.devices import default_device
from senet.models.create import from_pretrained
from senet.results.cases import CASE_RANKS, Cases, ImageCase, PictureFile, VariantCase
from senet.surgery.preserve import evaluating
from senet.tasks.answers import average_of, prediction_of
from senet.tasks.pictured import pictured, pictures_of, scores_of
from senet.tasks.task import Pictured, Prediction
from senet.text import printable

log = logging.getLogger("senet")


@dataclass(frozen=True)
class TrainedVariant:
    """Variant with its trained network.

    Args:
        prepared: the variant, its task and its images.
        task: the same task, which shows single images.
        network: its network, on its device.
    """

    prepared: PreparedVariant
    task: Pictured
    network: nn.Module

    @property
    def images(self) -> ImageSet:
        """Its validation images."""
        return self.prepared.source.val

    def outputs(self, batch: Batch) -> tuple[Batch, Any]:
        """Return a batch on the network's device, and what the network says of it."""
        there = batch.to(next(self.network.parameters()).device)
        with evaluating(self.network), torch.inference_mode():
            return there, average_of(self.prepared.task, [self.network], there)

    def scores(self) -> np.ndarray:
        """Return the score of each validation image, (N,) float64; NaN where it cannot be read or has none."""
        scores, task, source = np.full(len(self.images), np.nan), self.prepared.task, self.prepared.source
        with closing(eval_loader(source, self.prepared.variant.recipe.data, task)) as batches:
            for batch in batches:
                if len(batch.images):
                    there, outputs = self.outputs(batch)
                    for index, score in scores_of(self.task, outputs, there, source.classes).items():
                        scores[index] = score
        return scores

    def image(self, index: int) -> Batch:
        """Return a validation image as a batch of its own.

        Raises:
            DataError: if it cannot be read, though it could a moment ago.
        """
        task, source = self.prepared.task, self.prepared.source
        sample = EvalSamples(source.val, task.eval_transform(source.input, Views()))[index]
        if sample.image is None:
            raise DataError(f"{source.val.describe(index)} cannot be read any more")
        return task.collate([sample])

    def predict(self, batch: Batch) -> Prediction:
        """Return what is predicted of a batch of one image."""
        _, outputs = self.outputs(batch)
        return prediction_of(self.prepared.task, outputs, self.prepared.source.classes or None, top_k=1)


def measure_cases(prepared: Sequence[PreparedVariant], weights: Sequence[Path], folder: PictureFolder) -> Cases | None:
    """Choose validation images by their scores, mean over the variants, and write pictures of them.

    All images are scored first; then those that were chosen are predicted again, so that no outputs are kept.

    Args:
        prepared: the variants; the first is the baseline.
        weights: trained weights of each.
        folder: where the pictures go.

    Returns:
        The cases; None if the tasks show no single images, if the variants do not see the same images, which is logged, or if no image has
        a score for every variant.
    """
    tasks = [pictured(one.task) for one in prepared]
    if None in tasks or not _have_same_images(prepared):
        return None
    device = default_device()
    trained = [
        TrainedVariant(one, task, from_pretrained(path, device=device))
        for one, task, path in zip(prepared, tasks, weights, strict=True)
        if task is not None
    ]
    scores = np.stack([variant.scores() for variant in trained])
    means, metric = scores.mean(0), prepared[0].task.metrics[0]
    chosen = chosen_images(means, higher_is_better=metric.higher_is_better)
    legend, images = {}, []
    for rank, index in chosen.items():
        seen = [variant.image(index) for variant in trained]
        name = printable(trained[0].images.describe(index), None)
        if len({batch.images[0].shape for batch in seen}) > 1:
            log.warning("the variants see %s in several sizes, so that it is not shown", name)
            continue
        predictions = [variant.predict(batch) for variant, batch in zip(trained, seen, strict=True)]
        image, classes = trained[0].images.read(index), prepared[0].source.classes
        pictures = pictures_of(trained[0].task, image, seen[0], predictions, classes, side=SIDE)
        legend |= {meaning: colour for meaning, colour in pictures.legend.items() if meaning not in legend}
        images.append(
            ImageCase(
                rank=rank,
                name=name,
                score=float(means[index]),
                note=pictures.note,
                size=_size_of(image),
                pictures=_written(pictures.shared, f"{rank}-all", folder),
                variants=tuple(
                    VariantCase(
                        variant.prepared.variant.label,
                        float(score),
                        _written(drawn, f"{rank}-{place}", folder),
                        _written(gate_maps(variant.network, batch.images[0]), f"{rank}-{place}-gates", folder),
                    )
                    for place, (variant, score, drawn, batch) in enumerate(
                        zip(trained, scores[:, index], pictures.networks, seen, strict=True)
                    )
                ),
            )
        )
    return Cases(int(np.isfinite(means).sum()), legend, tuple(images)) if images else None


def chosen_images(scores: np.ndarray, *, higher_is_better: bool = True) -> dict[str, int]:
    """Return rank -> index of the images to be shown; of equals, earlier ones rank first.

    Args:
        scores: (N,) of each image; those that are not finite are not ranked.
        higher_is_better: whether a score is good when it is high.
    """
    ranked = sorted(np.flatnonzero(np.isfinite(scores)).tolist(), key=lambda index: -scores[index] if higher_is_better else scores[index])
    if not ranked:
        return {}
    places = dict(zip(CASE_RANKS, (0, (len(ranked) - 1) // 2, len(ranked) - 1), strict=True))
    first = {place: rank for rank, place in reversed(places.items())}  # of few images one has several ranks: the first counts
    return {rank: ranked[place] for rank, place in places.items() if first[place] == rank}


def gate_maps(network: nn.Module, image: Tensor) -> dict[str, Image.Image]:
    """Return heat maps of the gates of positions in the first, the middle and the last block that has them, over the image.

    Args:
        network: any; one without such gates has no maps.
        image: (C, H, W) as the network sees it, or (C, D, H, W), of which the slice in the middle is shown.

    Returns:
        The block's name, its path and the range of its gates -> the map.
    """
    if not spatial_gate_paths(network):
        return {}
    blocks = record_spatial_gates(network, image[None])
    shown = image.movedim(0, -1).cpu().numpy()
    picture = preview(shown[len(shown) // 2] if shown.ndim == 4 else shown, SIDE)
    places = dict.fromkeys((0, len(blocks) // 2, len(blocks) - 1))
    return {_gate_name(blocks[place]): heat_map(picture, blocks[place].map()) for place in places}


def _gate_name(block: SpatialGates) -> str:
    gates = block.map()
    where = block.name if block.name == block.path else f"{block.name} ({block.path})"
    return f"{where}: {gates.min():.2f} to {gates.max():.2f}"


def _have_same_images(prepared: Sequence[PreparedVariant]) -> bool:
    sources = {id(one.source): one.source for one in prepared}.values()  # most comparisons have one
    same = len(sources) == 1 or len({fingerprint(source.val) for source in sources}) == 1
    if not same:
        log.warning("the variants have different validation images, so that no single ones are shown")
    return same


def _written(pictures: Mapping[str, Image.Image], stem: str, folder: PictureFolder) -> tuple[PictureFile, ...]:
    return tuple(folder.write(picture, f"{stem}-{part_of_name(name)}", name) for name, picture in pictures.items())


def _size_of(image: Any) -> tuple[int, int]:
    """Return width and height of what a set of images reads; of a volume, those of its slices."""
    return image.size if isinstance(image, Image.Image) else (image.shape[-2], image.shape[-3])
