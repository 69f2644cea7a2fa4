"""Fold the blocks of a network that its metric does without, until it has lost as much as it may."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from senet.analysis.block_statistics import GateStatistics
from senet.analysis.frozen import block_effects, frozen_constants
from senet.analysis.gate_statistics import record_gates
from senet.compression.fold_curve import CompressionReport, FoldStep
from senet.compression.folding import FoldedNetwork, fold_gates
from senet.errors import UsageError
from senet.insertion.adopt import with_own_blocks
from senet.measuring.parts import block_paths
from senet.measuring.scores import Measure, points_lost
from senet.profiling.profiler import total_cost

SUM_ROUNDING = 1e-9
"""What sums of scores may differ by where they are equal."""


def compress_within(
    model: nn.Module,
    decision: Measure,
    held_out: Measure,
    labelled: Iterable[Sequence[Any]],
    tolerance: float,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> CompressionReport:
    """Fold blocks into the layers around them, the least harmful first, as long as the metric loses no more than the tolerance.

    Each block alone is measured with its gates at each channel's mean, see `block_effects`. In the order of that harm the blocks are then
    folded together, and the network is measured again with each. One with which the loss exceeds the tolerance is not folded; those behind
    it are still tried. Constants are the means of the network as it was.

    Args:
        model: the network; it is not changed.
        decision: scores a network on the images that decide.
        held_out: scores a network on other images: what is reported has not decided.
        labelled: batches for the means of the gates, as `record_gates` takes them: of the images that decide.
        tolerance: how much worse the metric may become on the images that decide, in its unit: 0.1 percent points of a top-1.
        progress: called with how many measurements of blocks alone are done, and how many there are.

    Raises:
        UsageError: for a negative tolerance, a network without blocks, or no images.
    """
    if not tolerance >= 0:  # NaN is not either
        raise UsageError(f"tolerance must be 0 or more, in points of the metric, got {tolerance!r}; 0.1 is a tenth of a percent point")
    if not block_paths(with_own_blocks(model)):
        raise UsageError(f"{type(model).__name__} has no blocks to fold; create_model('se_resnet50') has some, for one")
    sizes: list[tuple[int, ...]] = []
    statistics = record_gates(model, _noting_sizes(labelled, sizes))
    scores = decision(model), held_out(model)
    effects = block_effects(model, decision, statistics, modes=("channel",), before=scores[0], progress=progress)
    input_size = (1, *sizes[0])
    steps: list[FoldStep] = []
    kept = dict.fromkeys(_without_gates(model, statistics), "it has no gates whose mean could stand for them")
    folded = FoldedNetwork(model, ())
    chosen: list[str] = []
    for effect in sorted(effects, key=lambda effect: effect.losses["channel"].points):
        try:
            constants = frozen_constants(statistics, [*chosen, effect.path], "channel")
            candidate = fold_gates(model, {path: gate for path, gate in constants.items() if gate is not None})
        except UsageError as error:
            kept[effect.path] = str(error)
            continue
        losses = points_lost(scores[0], decision(candidate.model)), points_lost(scores[1], held_out(candidate.model))
        cost = total_cost(candidate.model, input_size)
        taken = losses[0].points <= tolerance + SUM_ROUNDING
        steps.append(FoldStep(effect.path, effect.losses["channel"], *losses, cost.params, cost.macs, taken))
        if not taken:
            kept[effect.path] = f"with it the loss is {losses[0].text()}, over the tolerance of {tolerance:g}"
            continue
        chosen.append(effect.path)
        folded = candidate
    return CompressionReport(folded.model, tolerance, *scores, total_cost(model, input_size), tuple(steps), folded.folds, kept)


def _noting_sizes(batches: Iterable[Sequence[Any]], sizes: list[tuple[int, ...]]) -> Iterator[Sequence[Any]]:
    """Yield the batches, and note the size of their images."""
    for batch in batches:
        sizes.append(tuple(batch[0].shape[1:]))
        yield batch


def _without_gates(model: nn.Module, statistics: GateStatistics) -> list[str]:
    """Return the paths of the blocks whose gates are not recorded: of a kind without gates, or never run."""
    recorded = {block.block for block in statistics.blocks}
    return [path for path in block_paths(with_own_blocks(model)) if path not in recorded]
