"""Find the units of a network, whatever library it comes from."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from senet.insertion.units.answers import is_answer
from senet.insertion.units.chains import chain_units, depthwise_units
from senet.insertion.units.concat import concat_units
from senet.insertion.units.existing import gate_modules, recalibrates
from senet.insertion.units.joints import skip_joints
from senet.insertion.units.parts import Course, bottleneck_units
from senet.insertion.units.residual import residual_units, unknown_joints
from senet.insertion.units.skips import skip_units
from senet.insertion.units.unit import Unit, inside
from senet.surgery.flow import Flow
from senet.surgery.probe import Probe
from senet.surgery.shaped import shaped_container_of
from senet.surgery.trace import containers


@dataclass(frozen=True)
class Survey:
    """Units and blocks that were found in a network.

    Args:
        units: the units, in the order of execution.
        recalibrated: those that have a gate already.
        unread: path -> reason, for the modules whose forward cannot be traced.
        answers: how many units were left out, as their results are the network's answer.
        parts: part of an encoder-decoder network that each unit is in; empty where there is no encoder and decoder, or nobody asked.
        unknown: name of a function or class -> paths of the modules in which it joins a branch and its shortcut in a way that is not known.
    """

    units: tuple[Unit, ...]
    recalibrated: frozenset[int]
    unread: dict[str, str]
    answers: int = 0
    parts: tuple[str, ...] = ()
    unknown: dict[str, list[str]] = field(default_factory=dict)


def survey(model: nn.Module, seen: Probe, *, parts: Collection[str] | None = None) -> Survey:
    """Find every unit: residual ones, then concatenations, depthwise pairs and skips outside them, and plain chains if there are no others.

    Args:
        model: the network.
        seen: how its modules are called.
        parts: the parts of an encoder-decoder network that are asked for: "bottleneck" among them looks for a block there; None = none.
    """
    traced, unread = containers(model, seen.calls, partial(shaped_container_of, seen.outputs))
    gates = gate_modules(model, traced)
    gate_paths = [path for path, module in model.named_modules() if module in gates]
    flows = [Flow(container, gates, seen) for container in traced if not inside(container.path, gate_paths)]
    joints = skip_joints(flows)
    answers: list[Unit] = []

    def inner(found: Iterable[Unit]) -> list[Unit]:
        kept = []
        for unit in found:
            (answers if is_answer(unit.flow, unit.kind, unit.value) else kept).append(unit)
        return kept

    units = _innermost(inner(unit for flow in flows for unit in residual_units(flow)))
    units += _disjoint(_innermost(inner(unit for flow in flows for unit in concat_units(flow, joints))), units)
    units += _disjoint(inner(unit for flow in flows for unit in depthwise_units(flow)), units)
    units += _disjoint(_innermost(inner(skip_units(flows, units))), [*units, *answers])
    if parts is not None and "bottleneck" in parts:
        units += _disjoint(inner(bottleneck_units(flows, seen, units)), units)
    units = units or inner(unit for flow in flows for unit in chain_units(flow))
    order = {flow: index for index, flow in enumerate(flows)}
    units.sort(key=lambda unit: (order[unit.flow], unit.flow.index[unit.value]))
    recalibrated = frozenset(index for index, unit in enumerate(units) if recalibrates(unit, gates, model))
    course = None if parts is None else Course.of(flows, seen)
    found = () if course is None else tuple(course.part(unit, seen) for unit in units)
    return Survey(tuple(units), recalibrated, unread, len(answers), found, _unknown(flows, seen))


def _unknown(flows: Iterable[Flow], seen: Probe) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for flow in flows:
        for node in unknown_joints(flow, seen):
            name = flow.name(node) or type(flow.module(node)).__name__
            found.setdefault(name, []).append(flow.container.path)
    return found


def _innermost(units: list[Unit]) -> list[Unit]:
    """Leave out units that contain others: a long skip over many units is not a unit."""
    return [unit for unit in units if not _contains(unit, units)]


def _disjoint(units: Iterable[Unit], others: Collection[Unit]) -> list[Unit]:
    """Leave out units that are part of others or contain them."""
    return [unit for unit in units if not _contains(unit, others) and not any(_contains(other, [unit]) for other in others)]


def _contains(unit: Unit, others: Iterable[Unit]) -> bool:
    for other in others:
        if other is unit:
            continue
        if other.flow is unit.flow:
            if other.value in unit.nodes:
                return True
        elif other.flow.container.module in unit.modules:
            return True
    return False
