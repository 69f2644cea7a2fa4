"""Analyse the gates of trained weights on validation images: what they do, what each block is worth, what follows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from senet.analysis.advice import recommend
from senet.analysis.excitation import excitation_curves
from senet.analysis.frozen import FREEZE_MODES, block_effects, check_modes
from senet.analysis.gate_statistics import record_gates
from senet.analysis.record import gate_paths
from senet.analysis.spatial import spatial_gate_paths
from senet.data.loaders import DataError, EvalSamples
from senet.data.preview import webp_of
from senet.data.views import Views
from senet.errors import UsageError
from senet.insertion.adopt import with_own_blocks
from senet.measuring.machine import bench_environment
from senet.models.network import ModelConfig
from senet.profiling.profiler import block_costs, total_cost
from senet.results.gate_analysis import AnalysedImages, BlockCosts, GateAnalysis, GateSheet
from senet.text import printable
from senet.training.evaluation_request import EvaluationRequest
from senet.training.gate_sheets import GateSheets
from senet.training.measured import ValidationSet
from senet.training.members import Member, choose_device, load_members

SHEETS = 2
"""Images over which the gates of positions are shown."""

Watch = Callable[[str, int, int], object]
"""Told what is being done, how much of it is done, and how much there is."""


def analyse(
    weights: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    limit: int | None = None,
    modes: Sequence[str] = tuple(FREEZE_MODES),
    device: torch.device | str | None = None,
    watch: Watch = lambda what, done, total: None,
) -> GateAnalysis:
    """Analyse the gates of a trained network on validation images, for any task.

    The gates of all blocks are recorded; then, one block at a time, they are replaced by constants, and the network is measured again; at
    the end those of several blocks together, to say which can be folded.

    Args:
        weights: a source of weights or a run folder, whose best weights are taken.
        changes: dotted fields of a recipe instead of what the weights say of task and images, as `senet eval` takes them.
        limit: how many validation images to take, drawn by chance and always the same; None = all.
        modes: what gates are replaced by, see `senet.analysis.frozen.FREEZE_MODES`.
        device: where to compute; None = a GPU if there is one.
        watch: told how far it is.

    Raises:
        UsageError: for an unknown mode, weights that cannot be read, a network without gates, or images that are not named or do not
            belong to it.
        DataError: if too many images cannot be read.
    """
    check_modes(modes)
    request, device = EvaluationRequest.of(weights, changes or {}), choose_device(weights, device)
    (member,) = load_members(weights, device)
    network = with_own_blocks(member.model)
    if not gate_paths(network) and not spatial_gate_paths(network):
        raise UsageError(
            f"{member.name} has no gates to analyse: its network, {_name_of(network)}, is plain; train one with blocks, "
            "such as se_preresnet20, or insert some, see `senet insert --help`"
        )
    images = ValidationSet.for_member(member, request, device=device, limit=limit)
    watch("measuring", 0, 1)
    before = images.measure(network)
    watch("measuring", 1, 1)
    statistics = record_gates(network, _watched(images, watch))
    effects = block_effects(network, images.measure, statistics, modes=modes, before=before, progress=partial(watch, "freezing gates"))
    watch("freezing gates together", 0, 1)
    advice = recommend(network, images.measure, statistics, effects, before=before)
    watch("freezing gates together", 1, 1)
    size = _size_of(images)
    return GateAnalysis(
        weights=member.name,
        network=_name_of(network),
        images=AnalysedImages(images.source.name, request.data.root, statistics.images, len(images.source.val), images.source.classes),
        metric=images.task.metrics[0],
        scores=before,
        statistics=statistics,
        effects=effects,
        advice=advice,
        panels=() if statistics.excitations is None else excitation_curves(statistics.excitations),
        costs=BlockCosts(size, total_cost(network, size), block_costs(network, size)),
        sheets=tuple(_sheets(replace(member, model=network), images)) if spatial_gate_paths(network) else (),
        environment=bench_environment(str(device), ("torchvision", "numpy")),
    )


def _watched(images: ValidationSet, watch: Watch) -> Iterator[tuple[Tensor, Tensor]]:
    done = 0
    for pictures, labels in images.labelled():
        watch("reading gates", done, len(images))
        yield pictures, labels
        done += len(pictures)
    watch("reading gates", len(images), len(images))


def _size_of(images: ValidationSet) -> tuple[int, ...]:
    """Return (1, C, H, W) of the first image that can be read."""
    for pictures, _ in images.labelled():
        return (1, *pictures.shape[1:])
    raise DataError("not one validation image can be read")


def _sheets(member: Member, images: ValidationSet) -> Iterator[GateSheet]:
    """Yield heat maps of the gates of positions over images that stand far apart in the set."""
    source, drawer = images.source, GateSheets.of([member], "centre", images.source.patch)
    samples = EvalSamples(source.val, images.task.eval_transform(source.input, Views()))
    for place in dict.fromkeys(round(share * (len(images) - 1) / max(1, SHEETS - 1)) for share in range(SHEETS)):
        view = samples[images.chosen[place]].image
        if view is not None:
            sheet = drawer.draw(view)
            yield GateSheet(printable(source.val.describe(images.chosen[place])), webp_of(sheet), sheet.size)


def _name_of(network: nn.Module) -> str:
    config = getattr(network, "config", None)
    return config.name if isinstance(config, ModelConfig) else type(network).__name__
