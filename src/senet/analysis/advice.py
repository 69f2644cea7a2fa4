"""What follows from the statistics of gates and from what their blocks are worth, in a few lines."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from senet.analysis.block_statistics import GateStatistics
from senet.analysis.frozen import BlockEffect, frozen_constants, loss_when_frozen
from senet.errors import UsageError
from senet.insertion.adopt import with_own_blocks
from senet.measuring.scores import Loss, Measure, Scores

STILL = 1e-5
"""Gates that are no further from constant are the same for every image."""

SATURATED = 0.9
"""Share of the gates near 0 or 1 from which on a block counts as saturated."""

TOLERANCES = {"%": 0.1}
"""Unit of a metric -> loss of it that nobody minds."""

SMALL = 0.001
"""That of a metric in another unit."""


@dataclass(frozen=True)
class Advice:
    """Recommendation for some blocks.

    Args:
        action: "fold" their gates into the layers around them, "keep" them, "measure" them on more images, "prune" their hidden units, or
            "note" that they are saturated.
        blocks: paths of the blocks.
        text: the recommendation, one line.
        loss: what following it costs; None where that was not measured, or nothing is to be done.
    """

    action: str
    blocks: tuple[str, ...]
    text: str
    loss: Loss | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return vars(self) | {"blocks": list(self.blocks), "loss": None if self.loss is None else self.loss.to_dict()}


def recommend(
    model: nn.Module,
    measure: Measure,
    statistics: GateStatistics,
    effects: Sequence[BlockEffect],
    *,
    before: Scores | None = None,
    tolerance: float | None = None,
) -> tuple[Advice, ...]:
    """Say which blocks can be folded together, which matter, and which hidden units never fire.

    Blocks are folded in the order of what freezing each at its channel means costs; one that takes the loss of all that are folded with it
    over the tolerance is left out, and those behind it are tried. They are chosen by the same images that say what they cost; see
    `senet.compress` for a choice that is judged on others.

    Args:
        model: the network.
        measure: what scores it, as for `block_effects`.
        statistics: what `record_gates` returned.
        effects: what `block_effects` returned; without the mode "channel" nothing is said of folding.
        before: scores of the network as it is; None = they are measured first.
        tolerance: loss of the metric that is acceptable; None = 0.1 points of a metric in percent, 0.001 of any other.

    Raises:
        UsageError: for a negative tolerance.
    """
    if tolerance is not None and not tolerance >= 0:  # NaN is not either
        raise UsageError(f"tolerance must be 0 or more, in the unit of the metric, got {tolerance!r}")
    network = with_own_blocks(model)
    before = measure(network) if before is None else before
    limit = (TOLERANCES.get(before.unit, SMALL) if tolerance is None else tolerance) + 1e-9  # rounding of a loss costs nothing
    names, digits = {effect.path: effect.name for effect in effects}, 2 if before.unit == "%" else 4
    losses = {effect.path: effect.losses["channel"] for effect in effects if "channel" in effect.losses}
    still = tuple(path for path in names if _distance(statistics, [path]) <= STILL)
    moving = sorted((path for path in losses if path not in still), key=lambda path: (losses[path].points, _distance(statistics, [path])))
    harmless = tuple(path for path in moving if losses[path].points <= limit)

    def together(paths: Sequence[str]) -> Loss:
        return loss_when_frozen(network, measure, frozen_constants(statistics, [*still, *paths], "channel"), before)

    found = []
    if still:
        found.append(Advice("fold", still, f"{_listed(still, names)}: gates are the same for every image: fold {_them(still)}, at no cost"))
    folded, loss = _folded_together(harmless, together, limit)
    if loss is not None:
        whose = "its" if len(folded) == 1 else "their"
        vary = f"{_listed(folded, names)}: gates vary by {'' if len(folded) == 1 else 'up to '}{_distance(statistics, folded):.3f}"
        end = f"fold {_them(folded)}"
        if loss.high is not None and loss.high > limit:
            end += f"; the interval goes beyond the tolerance of {limit:.{digits}f}, which more images may settle"
        text = f"{vary}, freezing {_them(folded)} at {whose} channel means costs {loss.text(digits)}: {end}"
        found.append(Advice("fold", folded, text, loss))
    beside = tuple(path for path in harmless if path not in folded)
    if beside:
        costs = _costs(beside, losses, names, digits)
        over = f"folded beside the others, {'it is' if len(beside) == 1 else 'each is'} over the tolerance of {limit:.{digits}f}"
        text = f"{over}, though alone freezing gates at their means costs: {costs}: keep {_them(beside)}"
        found.append(Advice("keep", beside, text))
    found += _kept([path for path in moving if path not in harmless], names, losses, digits)
    return (*found, *_hidden(statistics, names, {*still, *folded}), *_saturated(statistics, names, still))


def _folded_together(
    paths: tuple[str, ...], together: Callable[[Sequence[str]], Loss], limit: float
) -> tuple[tuple[str, ...], Loss | None]:
    """Return the paths that together cost no more than the limit, and what they cost; the first ones go first.

    All are tried, then each half beside what fits of the half before it, and so on: one measurement where all fit, fewer than two a path.
    """
    folded: tuple[str, ...] = ()
    best: Loss | None = None

    def add(group: tuple[str, ...], *, too_dear: bool = False) -> None:
        nonlocal folded, best
        if not too_dear and (loss := together([*folded, *group])).points <= limit:
            folded, best = (*folded, *group), loss
        elif len(group) > 1:
            before, first = folded, group[: len(group) // 2]
            add(first)
            rest = group[len(first) :]
            add(rest, too_dear=folded == (*before, *first))  # that is the whole group again

    if paths:
        add(paths)
    return folded, best


def _kept(paths: Sequence[str], names: Mapping[str, str], losses: Mapping[str, Loss], digits: int) -> Iterator[Advice]:
    """Tell the blocks that are worth something from those of which the images do not say it; the dearest first."""
    clear = [path for path in reversed(paths) if (low := losses[path].low) is None or low > 0]
    unclear = [path for path in reversed(paths) if path not in clear]
    for action, chosen in (("keep", clear), ("measure", unclear)):
        if chosen:
            costs = _costs(chosen, losses, names, digits)
            end = f"keep {_them(chosen)}" if action == "keep" else f"measure {_them(chosen)} on more images"
            yield Advice(action, tuple(chosen), f"freezing gates at their means costs: {costs}: {end}")


def _hidden(statistics: GateStatistics, names: Mapping[str, str], folded: Collection[str]) -> Iterator[Advice]:
    """Name hidden units that never fire, in blocks that stay."""
    found = [block for block in statistics.blocks if block.block not in folded and block.dead]
    if found:
        counts = ", ".join(f"{block.dead} of {block.hidden} in {names.get(block.block, block.name)}" for block in found)
        units = tuple(dict.fromkeys(block.block for block in found))
        yield Advice("prune", units, f"hidden units that fire for none of the {statistics.images} images can go without a change: {counts}")


def _saturated(statistics: GateStatistics, names: Mapping[str, str], still: Collection[str]) -> Iterator[Advice]:
    """Name blocks whose gates are nearly all near 0 or near 1, though they move."""
    for block in statistics.blocks:
        for share, place in ((block.near_zero, "within 0.05 of 0"), (block.near_one, "above 0.95")):
            if share >= SATURATED and block.block not in still:
                name = names.get(block.block, block.name)
                yield Advice("note", (block.block,), f"{name}: {100 * share:.0f} % of its gates are {place}: the block is saturated")


def _distance(statistics: GateStatistics, paths: Collection[str]) -> float:
    """Return how far the gates of these blocks are from constant, at most."""
    return max(block.distance for block in statistics.blocks if block.block in paths)


def _listed(paths: Iterable[str], names: Mapping[str, str]) -> str:
    return ", ".join(names[path] for path in names if path in set(paths))


def _costs(paths: Sequence[str], losses: Mapping[str, Loss], names: Mapping[str, str], digits: int) -> str:
    return "; ".join(f"{names[path]} {losses[path].text(digits)}" for path in paths)


def _them(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"
