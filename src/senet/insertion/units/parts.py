"""Parts of a segmentation network: what runs up to the last skip, what between that and the first enlarged map, what behind it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from torch import fx, nn

from senet.insertion.units.encoders import WhereMade, block_before
from senet.insertion.units.joints import joined_maps, joined_skips, skip_joints, skips_as_elsewhere
from senet.insertion.units.unit import Unit
from senet.surgery import roles
from senet.surgery.flow import Flow
from senet.surgery.graph import operands
from senet.surgery.probe import Probe
from senet.surgery.provenance import makers

NETWORK_PARTS = ("encoder", "bottleneck", "decoder")


@dataclass(frozen=True)
class Course:
    """Course of a run through encoder and decoder, in numbers of the calls of modules.

    Args:
        last_skip: when the last map was made that a skip takes.
        first_enlarged: when the first map was enlarged.
        deepest: the map that the bottleneck gives: what is enlarged first, or what joins a skip without being enlarged; None = not known.
    """

    last_skip: float
    first_enlarged: float
    deepest: WhereMade | None

    @classmethod
    def of(cls, flows: Sequence[Flow], seen: Probe) -> "Course | None":
        """Read the course of a network; None if it enlarges nothing or joins nothing with what it enlarged."""
        runs = {module: float(index) for index, module in enumerate(seen.calls)}
        enlargements = sorted(_enlargements(flows, seen, runs), key=lambda found: found[0])
        joints = skip_joints(flows)
        skips: list[WhereMade] = []
        beside: list[WhereMade] = []
        for flow in flows:
            for node in flow.nodes:
                enlarged = joined_skips(flow, node)
                found = enlarged or skips_as_elsewhere(flow, node, joints)
                skips += [(flow, skip) for skip in found]
                if found and not enlarged:
                    beside += [(flow, part) for part in joined_maps(flow, node) if part not in found]
        if not enlargements or not skips:
            return None
        first, flow, node = enlargements[0]
        made = [when for place in skips for when in _made(*place, seen, runs) if when < first]
        given = [(flow, value) for value in operands(node)[:1]]
        return cls(max(made, default=-inf), first, next(iter([*beside, *given]), None))

    def part(self, unit: Unit, seen: Probe) -> str:
        """Return the part of the network in which a unit begins."""
        runs = {module: index for index, module in enumerate(seen.calls)}
        called = [runs[module] for module in unit.modules if module in runs]
        began = min(called, default=runs.get(unit.flow.container.module, 0))
        if began >= self.first_enlarged:
            return "decoder"
        return "bottleneck" if began > self.last_skip else "encoder"


def bottleneck_units(flows: Sequence[Flow], seen: Probe, units: Collection[Unit]) -> list[Unit]:
    """Return the block of convolutions before the first enlarged map, where no unit is between encoder and decoder already."""
    course = Course.of(flows, seen)
    if course is None or course.deepest is None or any(course.part(unit, seen) == "bottleneck" for unit in units):
        return []
    unit = block_before(*course.deepest, flows)
    if unit is None or course.part(unit, seen) != "bottleneck":
        return []
    return [Unit(unit.flow, "bottleneck", unit.value, unit.nodes, unit.cuts)]


def _enlargements(flows: Sequence[Flow], seen: Probe, runs: dict[nn.Module, float]) -> Iterator[tuple[float, Flow, fx.Node]]:
    """Yield when and where maps are enlarged, by the innermost module or by a function."""
    whole = {module for module in seen.upsampling if any(inner in seen.upsampling for inner in module.modules() if inner is not module)}
    for flow in flows:
        for node in flow.nodes:
            module = flow.module(node)
            if module in whole or not flow.upsamples([node]):
                continue
            yield (_when(flow, node, runs) if module is None else runs[module]), flow, node


def _when(flow: Flow, node: fx.Node, runs: dict[nn.Module, float]) -> float:
    """Return when a node is computed: with the last module that runs before it."""
    before = (flow.module(earlier) for earlier in {node, *flow.ancestors(node)})
    ran = [runs[inner] for module in before if module is not None for inner in module.modules() if inner in runs]
    return max(ran, default=runs.get(flow.container.module, 0.0))


def _made(flow: Flow, skip: fx.Node, seen: Probe, runs: dict[nn.Module, float]) -> Iterator[float]:
    """Yield when the modules ran that made what a skip takes; its own projection is none of them."""
    source = flow.source(skip)
    while flow.convolutions([source]) and not any(map(roles.is_wide, flow.convolutions([source]))) and operands(source):
        source = flow.source(operands(source)[0])
    if source.op not in ("placeholder", "get_attr") and flow.name(source) != "getitem":
        yield _when(flow, source, runs)
    yield from (runs[module] for module in makers(seen.value(flow, source)) if seen.counts[module] == 1 and module in runs)
