"""A single image with its objects and what networks find of them, in pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from senet.data.boxes import Boxes
from senet.data.preview import preview
from senet.tasks.detection.matching import Matches, matches
from senet.tasks.detection.outcomes import FOUND, GAINED, LOST, OVERLOOKED, WRONG, Outcome, draw_outcomes
from senet.tasks.detection.prediction import PredictedBoxes, class_colours, draw_box
from senet.tasks.task import ImagePictures

LEGEND_CLASSES = 12
"""Classes up to which the legend lists each; of more, those that are there."""


def box_pictures(image: Any, truth: Boxes, predictions: Sequence[PredictedBoxes], classes: Sequence[str], side: int) -> ImagePictures:
    """Return the image and its objects in it, and of each network its boxes, and which objects they match.

    An object is found if a box of its class overlaps it by an IoU of 0.5. Later networks gain and lose objects against the first.

    Args:
        image: what a set of images reads.
        truth: its objects.
        predictions: one a network; boxes are shown from their `shown_score` on.
        classes: names of the classes.
        side: pixels of the longest side that the pictures have at most.
    """
    picture = preview(image, side)
    scale = picture.width / truth.size[1]
    shown = [_shown(one) for one in predictions]
    letters, colours = short_names(classes), class_colours(len(classes))

    def drawn(xyxy: np.ndarray, labels: np.ndarray, ends: Sequence[str]) -> Image.Image:
        copy = picture.copy()
        for box, label, end in reversed(list(zip(xyxy * scale, labels.tolist(), ends, strict=True))):  # the surest on top
            draw_box(copy, box.tolist(), colours[label], f"{letters[label]} {end}".strip(), edged=True)
        return copy

    found = [matches(truth, one.xyxy, one.labels, one.scores) for one in shown]
    networks = [
        {
            "boxes": drawn(one.xyxy, one.labels, [f"{100 * score:.0f}" for score in one.scores]),
            _counted(truth, its, found[0]): draw_outcomes(picture, _outcomes(truth, one, its, found[0]), scale),
        }
        for one, its in zip(shown, found, strict=True)
    ]
    there = np.unique(np.concatenate([truth.labels, *(one.labels for one in shown)])).tolist()
    listed = there if len(classes) > LEGEND_CLASSES else range(len(classes))
    legend = {f"{classes[label]} ({letters[label]})".removesuffix(" ()"): colours[label] for label in listed}
    kinds = [FOUND, OVERLOOKED, *([GAINED, LOST] if len(predictions) > 1 else ()), WRONG]
    return ImagePictures(
        {"image": picture, "truth": drawn(truth.xyxy, truth.labels, ["crowd" if crowd else "" for crowd in truth.crowd])},
        networks,
        legend | {kind.meaning: kind.colour for kind in kinds},
        f"boxes with a score of {predictions[0].shown_score:g} or more" if predictions else "",
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Return as many first letters of each name as no other begins with; nothing of a single one."""
    if len(names) < 2:
        return [""] * len(names)
    short = []
    for place, name in enumerate(names):
        others = [*names[:place], *names[place + 1 :]]
        short.append(next((name[:end] for end in range(1, len(name)) if not any(other.startswith(name[:end]) for other in others)), name))
    return short


def _shown(prediction: PredictedBoxes) -> PredictedBoxes:
    """Return the boxes that are shown, the surest first, without outlines."""
    places = prediction.shown[np.argsort(-prediction.scores[prediction.shown], kind="stable")]
    rows = {name: getattr(prediction, name)[places] for name in ("xyxy", "labels", "scores")}
    return replace(prediction, **rows, outlines=None)


def _outcomes(truth: Boxes, prediction: PredictedBoxes, its: Matches, first: Matches) -> list[tuple[Outcome, np.ndarray]]:
    """Return what becomes of each object, and each wrong box: what is the same with the first network, wrong boxes, lost and gained."""
    objects = ~truth.crowd
    return [
        (FOUND, truth.xyxy[its.found & first.found]),
        (OVERLOOKED, truth.xyxy[~its.found & ~first.found & objects]),
        (WRONG, prediction.xyxy[its.wrong]),
        (LOST, truth.xyxy[~its.found & first.found]),
        (GAINED, truth.xyxy[its.found & ~first.found]),
    ]


def _counted(truth: Boxes, its: Matches, first: Matches) -> str:
    """Return how many objects are found, gained and lost, and how many boxes are wrong."""
    gained, lost = int((its.found & ~first.found).sum()), int((~its.found & first.found).sum())
    against = "" if its is first else f" ({gained} gained, {lost} lost)"
    return f"{int(its.found.sum())} of {int((~truth.crowd).sum())} found{against}, {int(its.wrong.sum())} wrong"
