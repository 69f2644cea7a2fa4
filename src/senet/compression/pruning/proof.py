"""Which channels of a network can be cut, proved on images: the cut network does what the whole one does with these channels at zero."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from senet.compression.pruning.channels import HIDDEN_UNITS, Channels
from senet.compression.pruning.coupling import couple
from senet.compression.pruning.cut import difference, kept_places
from senet.deploy.report import FusionReport
from senet.errors import UsageError, first_line_of
from senet.ops.backend import REFERENCE, backend
from senet.surgery.preserve import evaluating
from senet.text import printable

BACKBONE_ALONE = "prune its backbone alone, model.backbone = senet.prune(model.backbone, images, ...).model, or fold its gates"
"""What can be done with a detector, which is not pruned as a whole."""


def provable(model: nn.Module, images: Tensor, ignored: Collection[str] = ()) -> list[Channels]:
    """Return the channels of a network as `couple` does; those whose cut is not exact are left whole.

    Args:
        model: the network; it is not changed.
        images: a batch, (N, C, H, W), on the network's device.
        ignored: paths of modules whose channels are left whole.

    Raises:
        UsageError: if none can be cut, the network is in its inference form or a detector, or it does not take the images.
    """
    if isinstance(getattr(model, "report", None), FusionReport):
        raise UsageError(f"{type(model).__name__} is in its inference form, whose layers are fused: prune it first, then senet.optimize it")
    _check_runs(model, images)
    sets = [replace(own, fixed=own.fixed or ("" if own.count > 1 else "they all go together")) for own in couple(model, images, ignored)]
    if _wrong(model, sets, images, sets):
        sets = [own if own.fixed else replace(own, fixed=_hindrance(model, sets, images, own)) for own in sets]
        if wrong := _wrong(model, sets, images, sets):
            raise UsageError(f"channels of {type(model).__name__} that can each be cut cannot be together: {wrong}; give some as ignored")
    if all(own.fixed for own in sets):
        first = next((f"{own.name}: {own.fixed}" for own in sets if own.fixed != HIDDEN_UNITS), "no layer reads what another gives")
        raise UsageError(f"{type(model).__name__} has no channels that can be cut ({first}): prune a part of it, or another network")
    return sets


def _check_runs(model: nn.Module, images: Tensor) -> None:
    try:
        with evaluating(model), torch.no_grad(), backend(REFERENCE):
            outputs = model(images)
    except Exception as error:  # whatever a forward leads to that other images were meant for
        said = printable(f"{type(error).__name__}: {first_line_of(error)}")
        raise UsageError(
            f"cannot run {type(model).__name__} on images {tuple(images.shape)} ({said}): give example_input as it takes them"
        ) from error
    if _are_boxes(outputs):
        raise UsageError(
            f"{type(model).__name__} finds boxes, and what it computes depends on what it finds, so that no cut of it can be proved: "
            f"{BACKBONE_ALONE}"
        )


def _are_boxes(outputs: Any) -> bool:
    """Return whether a network's outputs are those of detectors: of each image a mapping with its boxes."""
    return isinstance(outputs, list | tuple) and any(isinstance(found, Mapping) and "boxes" in found for found in outputs)


def _hindrance(model: nn.Module, sets: Sequence[Channels], images: Tensor, own: Channels) -> str:
    wrong = _wrong(model, sets, images, [own])
    return f"Torch-Pruning does not follow them ({wrong})" if wrong else ""


def _wrong(model: nn.Module, sets: Sequence[Channels], images: Tensor, chosen: Collection[Channels]) -> str:
    """Say what is wrong with a network whose chosen sets lose every second channel; "" if nothing is."""
    halved = {id(own) for own in chosen if not own.fixed}
    kept = [torch.arange(0, own.count, 2 if id(own) in halved else 1) for own in sets]
    return difference(model, kept_places(model, sets, kept), images)
