"""What a pruned network is to cost: the smallest ratio that comes to it, found by bisection, and what was tried on the way."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from senet.errors import UsageError
from senet.measuring.counting import Cost, count
from senet.measuring.steps import InferenceStep
from senet.measuring.timing import Ratio, interleave, ratio
from senet.profiling.profiler import total_cost
from senet.spec import check_choice
from senet.surgery.duplicate import duplicate

COUNTED = {"macs": "macs", "params": "params", "memory": "activation_bytes"}
TARGETS = ("latency", *COUNTED)
FINENESS = {"latency": 1 / 64}
"""Kind of target -> how closely its ratio is looked for, where that is not `FINEST`: every step is measured."""
FINEST = 1 / 4096


@dataclass(frozen=True)
class Target:
    """Cost of a pruned network, as a share of what it cost before.

    Args:
        kind: "latency" (measured on the device of the network, a forward pass of the example), "macs", "params" or "memory" (activations
            that training keeps).
        share: at most so much of it stays, 0 to 1.
    """

    kind: str
    share: float

    def __post_init__(self) -> None:
        check_choice("target", self.kind, TARGETS)
        if not (isinstance(self.share, int | float) and 0 < self.share < 1):
            raise UsageError(f"a target is the share that stays, between 0 and 1, such as 0.7; got {self.share!r}")


@dataclass(frozen=True)
class Trial:
    """Ratio that was tried.

    Args:
        ratio: share of the channels that went.
        share: the target's cost that stayed, of 1.
        macs: MACs that stayed, of 1.
    """

    ratio: float
    share: float
    macs: float


def cost_of(model: nn.Module, images: Tensor) -> Cost:
    """Count what a network costs a batch of images, on the meta device where it can run there; it is not changed."""
    try:
        return count(duplicate(model).to("meta"), images.to("meta"), ())[""]
    except Exception:  # a forward may make tensors of its own, or ask for their values
        return count(duplicate(model), images, ())[""]


def latency_ratio(before: nn.Module, after: nn.Module, images: Tensor, *, rounds: int = 7) -> Ratio:
    """Measure a forward pass of one network against that of another, in turn; 0.7 = the second takes 0.7 of the time of the first.

    Args:
        before: the first; its training flags stay.
        after: the second; likewise.
        images: a batch, (N, C, H, W), on the device of both.
        rounds: how often they are timed.
    """
    runs = {name: InferenceStep(duplicate(model).eval(), (images,)) for name, model in (("before", before), ("after", after))}
    timings = interleave(runs, rounds=rounds, max_seconds=30)
    return ratio(timings["after"], timings["before"])


def find_ratio(
    target: Target, plan: Callable[[float], tuple[int, ...]], build: Callable[[float], nn.Module], before: nn.Module, images: Tensor
) -> tuple[float, tuple[Trial, ...]]:
    """Return the smallest ratio whose network costs at most the target, and all that were tried.

    Args:
        target: what it may cost.
        plan: ratio -> the widths that it leads to; networks of the same widths are measured once.
        build: ratio -> the network.
        before: the network whose cost is 1.
        images: a batch, on the device.

    Raises:
        UsageError: if no ratio comes to it.
    """

    def counted(network: nn.Module) -> Cost:
        return cost_of(network, images) if target.kind == "memory" else total_cost(network, tuple(images.shape))

    base = counted(before)
    trials: dict[tuple[int, ...], Trial] = {}

    def tried(value: float) -> Trial:
        if (widths := plan(value)) not in trials:
            network = build(value)
            own = counted(network)
            share = (
                latency_ratio(before, network, images).median
                if target.kind == "latency"
                else getattr(own, COUNTED[target.kind]) / getattr(base, COUNTED[target.kind])
            )
            trials[widths] = Trial(value, share, own.macs / base.macs)
        return trials[widths]

    low, high = 0.0, 1.0
    if (most := tried(high)).share > target.share:
        raise UsageError(
            f"the {target.kind} cannot come to {target.share:g} of what it was: with every width at its least it is {most.share:.2f} "
            f"(MACs {most.macs:.2f}); a smaller round_to, or fewer ignored layers, lets widths go further"
        )
    while high - low > FINENESS.get(target.kind, FINEST):
        middle = (low + high) / 2
        low, high = (low, middle) if tried(middle).share <= target.share else (middle, high)
    return high, tuple(trials.values())
