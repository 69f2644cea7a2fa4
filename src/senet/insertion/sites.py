"""Find where blocks can sit in a network, and plan their insertion."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from senet.errors import UsageError
from senet.insertion.named import plan_named
from senet.insertion.places import PlacementError, choose_place
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.request import Request
from senet.insertion.stages import stage_numbers, stride_of
from senet.insertion.unit_numbers import resolved_at_units
from senet.insertion.units.find import Survey, survey
from senet.insertion.units.parts import NETWORK_PARTS
from senet.insertion.units.residual import branch_width
from senet.insertion.units.unit import Unit
from senet.spec import BlockSpec, Recalibration, check_choice, check_placement
from senet.surgery.probe import probe
from senet.surgery.wrappers import is_transparent, wrapper_attribute

EXISTING = ("skip", "add")


def find_sites(
    model: nn.Module,
    block: str | BlockSpec = "se",
    *,
    example_input: Any = None,
    placement: str = "standard",
    stages: Collection[int] | None = None,
    existing: Literal["skip", "add"] = "skip",
    at: str | type[nn.Module] | None = None,
    parts: Collection[str] | None = None,
) -> InsertPlan:
    """Plan the insertion of a block wherever the papers would put it; the network is not changed.

    Residual units get the block on their branch, Inception-like modules behind the concatenation, dense and shuffle units on their new
    features, depthwise-separable pairs behind the pointwise convolution, segmentation decoders behind each block, and networks that have
    none of these behind every non-linearity.

    Args:
        model: any network; it may be on the meta device.
        block: a kind of block, or a BlockSpec.
        example_input: a tensor or a tuple of arguments; None = an image as the network seems to want it.
        placement: where the block sits in its unit; all but "standard" are for residual units ("inner" for depthwise pairs too).
        stages: keep only sites of these stages.
        existing: leave units that recalibrate already alone ("skip"), or give them a block too ("add").
        at: put the block at these modules instead: a regular expression that matches whole paths, or a type of module. "standard"
            recalibrates their outputs, "pre" their inputs.
        parts: keep only sites of these parts of an encoder-decoder network: "encoder", what runs before the last skip is taken;
            "bottleneck", what follows up to the first enlarged map; "decoder". A bottleneck of plain convolutions has a site only if it is
            named here: the scSE paper puts no block there. None = all other sites.

    Raises:
        UsageError: if no site is found, the placement is impossible here, or the network cannot be run on the input.
    """
    recalibration = Recalibration(block_spec(block), placement, None if stages is None else tuple(stages))
    return plan_sites(model, recalibration, example_input=example_input, existing=existing, at=at, parts=parts)


def plan_sites(
    model: nn.Module,
    recalibration: Recalibration,
    *,
    example_input: Any = None,
    existing: Literal["skip", "add"] = "skip",
    at: str | type[nn.Module] | None = None,
    parts: Collection[str] | None = None,
) -> InsertPlan:
    """Do what `find_sites` does, with block, placement and stages as one value."""
    spec, placement = recalibration.block, recalibration.placement
    assert isinstance(spec, BlockSpec)
    check_placement(spec.kind, placement)
    check_choice("existing", existing, EXISTING)
    if parts is not None:
        parts = _checked_parts(parts, at)
    refuse_wrapped(model)
    request = Request(model, spec, placement, recalibration.stages, probe(model, example_input), parts)
    return _plan_units(request, existing) if at is None else plan_named(request, at)


def _checked_parts(parts: Collection[str], at: object) -> tuple[str, ...]:
    """Return names of parts as a tuple.

    Raises:
        UsageError: if there is none, one is unknown, or modules are named beside them.
    """
    if isinstance(parts, str) or not parts:
        raise UsageError(f"parts are some of {', '.join(NETWORK_PARTS)}, such as ('encoder', 'decoder'), got {parts!r}")
    for part in parts:
        check_choice("parts", part, NETWORK_PARTS)
    if at is not None:
        raise UsageError("at= names the modules itself: leave out parts=")
    return tuple(parts)


def block_spec(block: str | BlockSpec) -> BlockSpec:
    """Return the spec that a user names.

    Raises:
        UsageError: for an unknown kind, or something that is neither a kind nor a spec.
    """
    if not isinstance(block, str | BlockSpec):
        raise UsageError(f"block must be a kind of block, a BlockSpec or an InsertPlan, got {type(block).__name__}")
    return BlockSpec(block) if isinstance(block, str) else block


def refuse_wrapped(model: nn.Module) -> None:
    """Raise UsageError if a network, or a part of it, is compiled, averaged or distributed: it is registered there."""
    for path, module in model.named_modules():
        inner = wrapper_attribute(module)
        if inner is not None and not is_transparent(module):
            kind = type(module).__name__
            if module is model:
                raise UsageError(f"{kind} wraps the network: insert into model.{inner} first, then wrap it")
            raise UsageError(
                f"{kind} wraps {path}: put model.{path}.{inner} in its place (model.set_submodule), insert, then wrap it again"
            )


def _plan_units(request: Request, existing: str) -> InsertPlan:
    """Plan a site for every unit that is found.

    Raises:
        UsageError: if there is no site; it says why.
    """
    found = survey(request.model, request.seen, parts=request.parts)
    if request.parts is not None and not found.parts:
        raise UsageError(f"{request.name} has no encoder and decoder joined by skips: leave out parts={request.parts!r}")
    stages = stage_numbers(request, [(_path(request, unit), _stride(request, unit), unit.kind) for unit in found.units])
    sites: list[Site] = []
    faults = []
    for index, (unit, stage) in enumerate(zip(found.units, stages, strict=True)):
        if (index in found.recalibrated and existing == "skip") or not request.includes(stage):
            continue
        if request.parts is not None and found.parts[index] not in request.parts:
            continue
        try:
            site = _site(request, unit, stage, sites)
        except PlacementError as fault:
            faults.append(str(fault))
        else:
            sites.append(replace(site, existing=index in found.recalibrated))
    if not sites:
        raise UsageError(_no_site_reason(request, found, existing, faults, stages))
    return InsertPlan(request.name, resolved_at_units(_once(sites)), notes=_notes(found, existing, faults))


def _site(request: Request, unit: Unit, stage: int, others: Collection[Site]) -> Site:
    """Plan one site.

    Raises:
        PlacementError: if the block cannot sit in this unit.
    """
    container = unit.flow.container
    cuts = unit.cuts.get("pair" if request.sees_shortcut else request.placement, ())
    if not cuts:
        raise PlacementError(f"{container.path or request.name}: {_needs(request, unit)}")
    chosen = choose_place(unit, cuts, request.paths)
    cut, graph = chosen.cut, chosen.position == "graph"
    shape = request.seen.shape(unit.flow, cut.node)
    if len(shape) < 3:
        raise PlacementError(f"{chosen.path}: what the block would recalibrate is not a map (N, C, ...)")
    axis = request.seen.feature_axis(lambda seen: seen.value(unit.flow, cut.node))
    if axis is None:
        raise PlacementError(f"{chosen.path}: which axis of {cut.node.name} {shape} holds its features cannot be told")
    if shape[axis] < 2:
        raise PlacementError(f"{chosen.path}: {cut.node.name} has one feature only, which no gate can weigh against others")
    module = request.model.get_submodule(chosen.path)
    return Site(
        path=chosen.path,
        position=chosen.position,
        host=type(module).__name__,
        kind=unit.kind,
        placement=request.placement,
        stage=stage,
        channels=shape[axis],
        block=_block(request, unit),
        container=container.path,
        axis=axis,
        aliases=tuple(path for path in request.paths[module] if path != chosen.path),
        node=cut.node.name if graph else "",
        users=tuple(sorted(user.name for user in cut.users)) if graph else (),
        shortcut="" if cut.shortcut is None else cut.shortcut.name,
        name=_free_name(module, [other.name for other in others if other.path == chosen.path]) if graph else "se",
        note="" if chosen.best else "before the activation, which is not a module",
    )


def _path(request: Request, unit: Unit) -> str:
    """Return the path of the module whose result a unit's value is; of a sum or a joint, that of the container."""
    module = unit.flow.module(unit.value)
    return unit.flow.container.path if module is None else request.paths[module][0]


def _stride(request: Request, unit: Unit) -> float:
    axis = request.seen.feature_axis(lambda seen: seen.value(unit.flow, unit.value))
    return stride_of(request, request.seen.shape(unit.flow, unit.value), axis)


def _block(request: Request, unit: Unit) -> BlockSpec:
    """Return the block of one unit; CMPE-SE counts its maps by the width of the branch, as in the papers' networks."""
    width = branch_width(unit.flow, unit)
    return request.block if width is None else request.block.with_defaults(maps=max(1, width // 16))


def _no_site_reason(request: Request, found: Survey, existing: str, faults: list[str], stages: list[int]) -> str:
    """Return why there is no site."""
    if request.parts is not None and not set(found.parts) & set(request.parts):
        return f"no site of {request.name} is in {', '.join(request.parts)}; there are sites in {', '.join(dict.fromkeys(found.parts))}"
    if stages and not any(map(request.includes, stages)):
        return request.only_elsewhere(stages)
    if faults:
        return f"placement {request.placement!r} is impossible in {request.name}: {faults[0]}"
    if found.recalibrated and existing == "skip":
        return f"all {len(found.recalibrated)} units of {request.name} recalibrate already; existing='add' gives them a block too"
    unread = "; ".join(f"{path or request.name}: {reason}" for path, reason in list(found.unread.items())[:2])
    reasons = f" ({len(found.unread)} modules cannot be traced, such as {unread})" if unread else ""
    if found.answers:
        reasons += f": what {found.answers} of its units give is its output"
    unknown = "".join(f" ({reason})" for reason in _not_understood(found))
    return f"found no site in {request.name}{reasons}{unknown}; name modules with at=, a regular expression of their paths or a type"


def _needs(request: Request, unit: Unit) -> str:
    """Return what a unit takes, in words."""
    if request.sees_shortcut:
        return f"{request.block.kind!r} weighs a branch against its shortcut, and a unit of the kind {unit.kind!r} has none"
    takes = ", ".join(repr(placement) for placement, cuts in unit.cuts.items() if cuts and placement != "pair")
    return f"a unit of the kind {unit.kind!r} takes {takes} only"


def _free_name(module: nn.Module, taken: Collection[str]) -> str:
    """Return a name for a block that the module has not given away: se, se2, se3, ..."""
    used = {*taken, *module._modules, *module._parameters, *module._buffers}
    names = ["se", *(f"se{count}" for count in range(2, len(used) + 3))]
    return next(name for name in names if name not in used)


def _once(sites: list[Site]) -> list[Site]:
    """Leave out sites whose module has one already, as it is shared."""
    unique: dict[tuple[str, str, str], Site] = {}
    for site in sites:
        unique.setdefault((min(site.path, *site.aliases, site.path), site.position, site.node), site)
    return list(unique.values())


def _notes(found: Survey, existing: str, faults: list[str]) -> tuple[str, ...]:
    already = f"{len(found.recalibrated)} units recalibrate already and are left alone; existing='add' gives them a block too"
    noted = [already] if found.recalibrated and existing == "skip" else []
    return (*noted, *(f"left out: {fault}" for fault in dict.fromkeys(faults)), *_not_understood(found))


def _not_understood(found: Survey) -> Iterator[str]:
    """Yield what a reader should know of branches and shortcuts that are joined in a way that is not read as a sum."""
    for name, paths in found.unknown.items():
        where = f"{paths[0] or 'the network'}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        yield f"not understood: {name} joins a branch and its shortcut in {where}; no block is placed by it, at= can name modules"
