"""Channel pruning: the channels that matter least are taken out, and what is left computes as if they were zero."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from senet.compression.pruning.channels import Axis, Channels, axis_sizes
from senet.compression.pruning.cut import after, cut_, difference, kept_places
from senet.compression.pruning.importance import CHANNEL_RANKS, Evidence, LabelledBatches, importance
from senet.compression.pruning.proof import provable
from senet.compression.pruning.result import Pruned, SetRow
from senet.compression.pruning.selection import SCOPES, Ranked, select
from senet.compression.pruning.target import Target, Trial, cost_of, find_ratio, latency_ratio
from senet.errors import UsageError
from senet.models.reduced import ReducedStep, layer_widths, record_step
from senet.spec import check_choice, check_positive
from senet.surgery.duplicate import duplicate
from senet.surgery.wrappers import unwrap


def prune(
    model: nn.Module,
    example_input: Tensor,
    *,
    rank: str = "gate",
    ratio: float | Sequence[float] | None = None,
    target: Target | None = None,
    batches: LabelledBatches | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    scope: str = "global",
    round_to: int = 8,
    steps: int = 1,
    seed: int = 0,
    between: Callable[[nn.Module], object] | None = None,
    ignored: Collection[str] = (),
) -> Pruned:
    """Return a network without some of the channels of another; the other is not changed.

    Channels that hang together, through shortcuts, gates, depthwise and grouped convolutions and concatenations, go together, as
    Torch-Pruning's dependency graph says (extra `compress`; Fang et al., 2301.12900). What is left equals the network with these channels
    at zero, which is proved on the example. What cannot be cut is left whole, and the result says why; so are the hidden units of blocks.

    Args:
        model: a network that takes a batch of images.
        example_input: such a batch, (N, C, H, W), on its device: what it is followed and proved with, and timed on.
        rank: what channels are judged by: "gate" (mean gate over the batches), "gate_spread" (times its deviation between classes),
            "gate_activation" (size of what the gate makes of its map), "l1", "l2" (of weights), "taylor" (|weight x gradient|), "random".
            Channels that no gate rescales are judged by "l1".
        ratio: share of the channels that goes, of those that are not left whole; of several steps, at the end of each of them.
        target: what the network may cost, in place of a ratio, which is looked for then.
        batches: tuples that begin with images and labels, for gates and "taylor"; of several steps, what can be read several times.
        loss: called with outputs and labels, for "taylor"; None = cross-entropy.
        scope: "global": the least important channels of the network go; "layer": the same share everywhere.
        round_to: widths become multiples of it, and at least that; a narrower one stays.
        steps: how often something is cut; importance is measured anew each time.
        seed: of "random".
        between: called with the network after each step but the last, to train it.
        ignored: paths of modules whose channels are left whole.

    Raises:
        UsageError: if Torch-Pruning is not installed or cannot follow the network, nothing can be cut, the target cannot be reached, or
            what the rank needs is missing.
    """
    if not isinstance(example_input, Tensor) or not example_input.numel():
        shape = f" of shape {tuple(example_input.shape)}" if isinstance(example_input, Tensor) else ""
        raise UsageError(f"example_input is a batch of images, (N, C, H, W), got {type(example_input).__name__}{shape}")
    check_choice("rank", rank, tuple(CHANNEL_RANKS))
    check_choice("scope", scope, tuple(SCOPES))
    round_to = check_positive("round_to", round_to)
    ratios = _ratios(ratio, target, check_positive("steps", steps))
    if steps > 1 and isinstance(batches, Iterator):
        raise UsageError("each step reads the batches anew: give what can be read several times, such as a list or a loader")
    original, evidence = unwrap(model), Evidence(batches, loss, seed)
    proved = example_input[:2]
    state = _State.of(original, provable(original, proved, ignored))
    ranked: Ranked = []
    trials: tuple[Trial, ...] = ()
    for step in range(steps):
        ranked = list(zip(state.sets, importance(state.model, state.sets, rank, evidence), strict=True))
        if target is not None and step in (0, steps - 1):  # what has been trained since then has other costs at the same ratio
            found, trials = _find(state, ranked, target, original, example_input, scope=scope, round_to=round_to)
            found = max(found, *ratios[:step], 0.0)  # what is gone stays gone, though less might do as it is timed now
            ratios[step:] = [found * (place + 1) / steps for place in range(step, steps)]
        state = state.cut(select(ranked, ratios[step], scope=scope, round_to=round_to), proved)
        if between is not None and step < steps - 1:
            between(state.model)
    before, now = layer_widths(original), layer_widths(state.model)
    return Pruned(
        model=state.model,
        rank=rank,
        scope=scope,
        round_to=round_to,
        seed=seed,
        ratios=tuple(ratios),
        target=target,
        widths=ReducedStep.between(before, now).widths,
        kept=_by_path(original, state.where),
        before=cost_of(original, example_input),
        after=cost_of(state.model, example_input),
        latency=latency_ratio(original, state.model, example_input),
        rows=tuple(_row(own, score.measure if score else "") for own, (_, score) in zip(state.sets, ranked, strict=True)),
        trials=trials,
    )


@dataclass(frozen=True)
class _State:
    """Network on its way.

    Args:
        model: the network.
        sets: its channels.
        where: axis -> indices in the original network of what is left there.
    """

    model: nn.Module
    sets: Sequence[Channels]
    where: Mapping[Axis, Tensor]

    @classmethod
    def of(cls, model: nn.Module, sets: Sequence[Channels]) -> "_State":
        """Return the state in which nothing is cut."""
        return cls(duplicate(model), sets, {axis: torch.arange(size) for axis, size in axis_sizes(model).items()})

    def cut(self, kept: Sequence[Tensor], images: Tensor | None = None) -> "_State":
        """Return the network with some of the channels of each set, proved on images if there are some."""
        places = kept_places(self.model, self.sets, kept)
        if images is not None and (wrong := difference(self.model, places, images)):
            raise UsageError(f"the cut of {type(self.model).__name__} is not exact: {wrong}; give some of its layers as ignored")
        model, before = duplicate(self.model), layer_widths(self.model)
        cut_(model, places)
        record_step(model, ReducedStep.between(before, layer_widths(model)))
        where = {axis: own[places[axis]] if axis in places else own for axis, own in self.where.items()}
        return _State(model, after(self.sets, kept, places), where)


def _ratios(ratio: float | Sequence[float] | None, target: Target | None, steps: int) -> list[float]:
    """Return the share of channels that goes by the end of each step; zeros where it is to be found."""
    if (ratio is None) == (target is None):
        raise UsageError("give either ratio, the share of channels that goes, or target, such as Target('macs', 0.7)")
    if ratio is None:
        return [0.0] * steps
    try:
        given = [ratio * (step + 1) / steps for step in range(steps)] if isinstance(ratio, int | float) else [*map(float, ratio)]
    except (TypeError, ValueError):
        raise UsageError(f"ratio is a share of the channels, such as 0.5, or one a step, got {ratio!r}") from None
    if len(given) != steps:
        raise UsageError(f"ratio says the share for {len(given)} steps, and steps is {steps}")
    if not all(0 < value <= 1 for value in given) or sorted(given) != given:
        raise UsageError(f"ratio is a share of the channels between 0 and 1, rising from step to step, got {ratio!r}")
    return given


def _find(
    state: _State, ranked: Ranked, target: Target, original: nn.Module, images: Tensor, *, scope: str, round_to: int
) -> tuple[float, tuple[Trial, ...]]:
    def kept(value: float) -> list[Tensor]:
        return select(ranked, value, scope=scope, round_to=round_to)

    return find_ratio(target, lambda value: tuple(map(len, kept(value))), lambda value: state.cut(kept(value)).model, original, images)


def _by_path(original: nn.Module, where: Mapping[Axis, Tensor]) -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = {}
    for axis, size in axis_sizes(original).items():
        if len(where[axis]) < size:
            found.setdefault(axis.path, {})[axis.side] = where[axis].tolist()
    return found


def _row(own: Channels, measure: str) -> SetRow:
    fixed = own.fixed or ("" if measure else "no layer outside of blocks gives them")
    return SetRow(own.name, own.original * own.width, own.count * own.width, measure, fixed)
