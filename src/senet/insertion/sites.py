"""Find where blocks can sit in a network, and plan their insertion."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from senet.errors import UsageError
from senet.insertion.places import PlacementError, module_paths, place
from senet.insertion.plan import InsertPlan, Site, compiled, near_misses
from senet.insertion.units.find import Survey, survey
from senet.insertion.units.residual import branch_width
from senet.insertion.units.unit import Unit
from senet.spec import BlockSpec, Recalibration, block_class, check_choice, check_placement
from senet.surgery.probe import Probe, probe

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

    Raises:
        UsageError: if no site is found, the placement is impossible here, or the network cannot be run on the input.
    """
    recalibration = Recalibration(block_spec(block), placement, None if stages is None else tuple(stages))
    return plan_sites(model, recalibration, example_input=example_input, existing=existing, at=at)


def plan_sites(
    model: nn.Module,
    recalibration: Recalibration,
    *,
    example_input: Any = None,
    existing: Literal["skip", "add"] = "skip",
    at: str | type[nn.Module] | None = None,
) -> InsertPlan:
    """Do what `find_sites` does, with block, placement and stages as one value."""
    spec = recalibration.block
    assert isinstance(spec, BlockSpec)
    check_placement(spec.kind, recalibration.placement)
    check_choice("existing", existing, EXISTING)
    refuse_wrapped(model)
    planner = _Planner(model, spec, recalibration, probe(model, example_input))
    return planner.surveyed(existing) if at is None else planner.chosen(at)


def block_spec(block: str | BlockSpec) -> BlockSpec:
    """Return the spec that a user names.

    Raises:
        UsageError: for an unknown kind, or something that is neither a kind nor a spec.
    """
    if not isinstance(block, str | BlockSpec):
        raise UsageError(f"block must be a kind of block, a BlockSpec or an InsertPlan, got {type(block).__name__}")
    return BlockSpec(block) if isinstance(block, str) else block


def refuse_wrapped(model: nn.Module) -> None:
    """Raise UsageError if a network is wrapped for distributed training or compiled: its parameters are registered there already."""
    if isinstance(model, DataParallel | DistributedDataParallel) or hasattr(model, "_orig_mod"):
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        raise UsageError(f"{type(model).__name__} wraps the network: insert into model.{inner} first, then wrap it")


class _Planner:
    """Maker of the sites of one plan."""

    def __init__(self, model: nn.Module, spec: BlockSpec, recalibration: Recalibration, seen: Probe) -> None:
        self.model = model
        self.name = type(model).__name__
        self.spec = spec
        self.sees_shortcut = block_class(spec.kind).sees_shortcut
        self.placement = recalibration.placement
        self.seen = seen
        self.wanted = recalibration.stages
        self.paths = module_paths(model)

    def surveyed(self, existing: str) -> InsertPlan:
        """Plan a site for every unit."""
        found = survey(self.model, self.seen)
        strides = [self.stage(unit.flow.container.path, self.seen.shape(unit.flow, unit.value)) for unit in found.units]
        stages = self.counted(strides, [unit.kind for unit in found.units])
        sites, faults = [], []
        for index, (unit, stage) in enumerate(zip(found.units, stages, strict=True)):
            if (index in found.recalibrated and existing == "skip") or not self.wants(stage):
                continue
            try:
                site = self.site(unit, stage, sites)
            except PlacementError as fault:
                faults.append(str(fault))
            else:
                sites.append(replace(site, existing=index in found.recalibrated))
        if not sites:
            raise UsageError(self._nothing(found, existing, faults, stages))
        return InsertPlan(self.name, tuple(_once(sites)), notes=_notes(found, existing, faults))

    def site(self, unit: Unit, stage: int, others: Collection[Site]) -> Site:
        """Plan one site.

        Raises:
            PlacementError: if the block cannot sit in this unit.
        """
        container = unit.flow.container
        cuts = unit.cuts.get("pair" if self.sees_shortcut else self.placement, ())
        if not cuts:
            raise PlacementError(f"{container.path or self.name}: {_needs(unit, self.spec.kind, self.sees_shortcut)}")
        chosen = place(unit, cuts, self.paths)
        cut, graph = chosen.cut, chosen.position == "graph"
        shape = self.seen.shape(unit.flow, cut.node)
        if len(shape) < 3:
            raise PlacementError(f"{chosen.path}: what the block would recalibrate is not a map (N, C, ...)")
        module = self.model.get_submodule(chosen.path)
        return Site(
            path=chosen.path,
            position=chosen.position,
            host=type(module).__name__,
            kind=unit.kind,
            placement=self.placement,
            stage=stage,
            channels=shape[cut.axis],
            block=self.block(unit, stage),
            container=container.path,
            axis=cut.axis,
            aliases=tuple(path for path in self.paths[module] if path != chosen.path),
            node=cut.node.name if graph else "",
            users=tuple(sorted(user.name for user in cut.users)) if graph else (),
            shortcut="" if cut.shortcut is None else cut.shortcut.name,
            name=_free_name(module, [other.name for other in others if other.path == chosen.path]) if graph else "se",
            note="" if chosen.best else "before the activation, which is not a module",
        )

    def block(self, unit: Unit, stage: int) -> BlockSpec:
        """Return the block of one unit; CMPE-SE counts its maps by the width of the branch, as in the papers' networks."""
        width = branch_width(unit.flow, unit)
        spec = self.spec.at_stage(stage)
        return spec if width is None else spec.with_defaults(maps=max(1, width // 16))

    def wants(self, stage: int) -> bool:
        """Return whether sites of a stage are asked for."""
        return self.wanted is None or stage in self.wanted

    def counted(self, stages: list[int], kinds: list[str]) -> list[int]:
        """Count from 1 what keeps the image's size, as the papers do for VGG and CIFAR networks; a decoder alone shifts nothing."""
        shift = 1 if 0 in [stage for stage, kind in zip(stages, kinds, strict=True) if kind != "decoder"] else 0
        return [stage + shift for stage in stages]

    def stage(self, path: str, shape: tuple[int, ...]) -> int:
        """Return the network's own number of the stage that holds a path, or log2 of the stride of a map."""
        stages = getattr(self.model, "stages", None)
        if isinstance(stages, Mapping):
            for number, stage in stages.items():
                if any(path == prefix or path.startswith(f"{prefix}.") for prefix in self.paths.get(stage, ())):
                    return int(number)
        return max(0, round(math.log2(self.seen.image / shape[-1]))) if self.seen.image and shape else 0

    def chosen(self, at: str | type[nn.Module]) -> InsertPlan:
        """Plan a site at every module that the user means."""
        if self.placement not in ("standard", "pre") or self.sees_shortcut:
            raise UsageError(
                f"at= puts blocks behind modules ('standard') or before them ('pre'), not {self.spec.kind!r} at {self.placement!r}"
            )
        fits = _matching(self.model, at)
        values = {path: self._value(path, module) for path, module in fits.items()}
        strides = [self.stage(path, tuple(value.shape)) for path, value in values.items()]
        stages = dict(zip(fits, self.counted(strides, ["module"] * len(fits)), strict=True))
        sites = []
        for path, module in fits.items():
            if not self.wants(stages[path]):
                continue
            parent = path.rpartition(".")[0]
            while parent and self.model.get_submodule(parent) not in self.seen.calls:
                parent = parent.rpartition(".")[0]
            site = Site(
                path=path,
                position="output" if self.placement == "standard" else "input",
                host=type(module).__name__,
                kind="module",
                placement=self.placement,
                stage=stages[path],
                channels=values[path].shape[1],
                block=self.spec.at_stage(stages[path]),
                container=parent,
                aliases=tuple(alias for alias in self.paths[module] if alias != path),
            )
            sites.append(site)
        if not sites:
            raise UsageError(self._elsewhere(list(stages.values())))
        return InsertPlan(self.name, tuple(sites))

    def _value(self, path: str, module: nn.Module) -> Tensor:
        """Return what a block at a module would recalibrate."""
        if module not in self.seen.calls:
            raise UsageError(f"{path} does not run in evaluation mode: a block there would do nothing")
        before = self.placement == "pre"
        value = next(iter(self.seen.calls[module].args), None) if before else self.seen.outputs[module]
        if not isinstance(value, Tensor) or value.ndim < 3:
            raise UsageError(f"{path} {'takes' if before else 'gives'} no map (N, C, ...): it cannot be recalibrated")
        return value

    def _elsewhere(self, stages: Collection[int]) -> str:
        there = ", ".join(map(str, sorted(set(stages))))
        return f"no site is in stages {', '.join(map(str, self.wanted or ()))}; there are sites in stages {there}"

    def _nothing(self, found: Survey, existing: str, faults: list[str], stages: list[int]) -> str:
        """Say why there is no site."""
        if stages and not any(map(self.wants, stages)):
            return self._elsewhere(stages)
        if faults:
            return f"placement {self.placement!r} is impossible in {self.name}: {faults[0]}"
        if found.recalibrated and existing == "skip":
            return f"all {len(found.recalibrated)} units of {self.name} recalibrate already; existing='add' gives them a block too"
        unread = "; ".join(f"{path or self.name}: {reason}" for path, reason in list(found.unread.items())[:2])
        reasons = f" ({len(found.unread)} modules cannot be traced, such as {unread})" if unread else ""
        return f"found no site in {self.name}{reasons}; name modules with at=, a regular expression of their paths or a type"


def _matching(model: nn.Module, at: str | type[nn.Module]) -> dict[str, nn.Module]:
    """Return the modules that a regular expression or a type means."""
    named = {path: module for path, module in model.named_modules() if path}
    if isinstance(at, str):
        pattern, names = compiled(at), list(named)
        fits = {path: module for path, module in named.items() if pattern.fullmatch(path)}
    else:
        at, names, kind = at.__name__, sorted({type(module).__name__ for module in named.values()}), at
        fits = {path: module for path, module in named.items() if isinstance(module, kind)}
    if not fits:
        raise UsageError(f"no module matches {at!r}; {near_misses(at, names)}")
    return fits


def _needs(unit: Unit, kind: str, sees_shortcut: bool) -> str:
    """Say what a unit takes."""
    if sees_shortcut:
        return f"{kind!r} weighs a branch against its shortcut, and a unit of the kind {unit.kind!r} has none"
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
    return ((already,) if found.recalibrated and existing == "skip" else ()) + tuple(f"left out: {fault}" for fault in faults)
