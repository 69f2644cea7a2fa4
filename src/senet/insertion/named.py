"""Sites at modules that the user names."""

from torch import Tensor, nn

from senet.errors import UsageError
from senet.insertion.patterns import close_matches, compile_pattern
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.request import Request
from senet.insertion.stages import stage_numbers, stride_of
from senet.insertion.unit_numbers import resolved_at_units
from senet.surgery.probe import Probe


def plan_named(request: Request, at: str | type[nn.Module]) -> InsertPlan:
    """Plan a site at every module that the user means.

    Args:
        request: what is asked for.
        at: a regular expression that matches whole paths, or a type of module.

    Raises:
        UsageError: if no module is meant, or the block cannot sit there.
    """
    if request.placement not in ("standard", "pre") or request.sees_shortcut:
        raise UsageError(
            f"at= puts blocks behind modules ('standard') or before them ('pre'), not {request.block.kind!r} at {request.placement!r}"
        )
    meant = _matching(request.model, at)
    maps = {path: _map(request, path, module) for path, module in meant.items()}
    stages = stage_numbers(request, [(path, stride_of(request, *found), "module") for path, found in maps.items()])
    wanted = [(path, stage) for path, stage in zip(meant, stages, strict=True) if request.includes(stage)]
    if not wanted:
        raise UsageError(request.only_elsewhere(stages))
    return InsertPlan(request.name, resolved_at_units([_site(request, path, stage, *maps[path]) for path, stage in wanted]))


def _site(request: Request, path: str, stage: int, shape: tuple[int, ...], axis: int) -> Site:
    module = request.model.get_submodule(path)
    container = path.rpartition(".")[0]
    while container and request.model.get_submodule(container) not in request.seen.calls:
        container = container.rpartition(".")[0]
    return Site(
        path=path,
        position="output" if request.placement == "standard" else "input",
        host=type(module).__name__,
        kind="module",
        placement=request.placement,
        stage=stage,
        channels=shape[axis],
        block=request.block,
        container=container,
        axis=axis,
        aliases=tuple(alias for alias in request.paths[module] if alias != path),
    )


def _map(request: Request, path: str, module: nn.Module) -> tuple[tuple[int, ...], int]:
    """Return the shape of what a block at a module would recalibrate, and the axis of its features."""
    if module not in request.seen.calls:
        raise UsageError(f"{path} does not run in evaluation mode: a block there would do nothing")
    before = request.placement == "pre"

    def looked_up(seen: Probe) -> Tensor | None:
        value = next(iter(seen.calls[module].args), None) if before else seen.outputs[module]
        return value if isinstance(value, Tensor) else None

    value = looked_up(request.seen)
    if value is None or value.ndim < 3:
        raise UsageError(f"{path} {'takes' if before else 'gives'} no map (N, C, ...): it cannot be recalibrated")
    axis = request.seen.feature_axis(looked_up)
    if axis is None:
        at = "before" if before else "behind"
        raise UsageError(f"which axis of the map {tuple(value.shape)} {at} {path} holds its features cannot be told: name a layer near it")
    return tuple(value.shape), axis


def _matching(model: nn.Module, at: str | type[nn.Module]) -> dict[str, nn.Module]:
    """Return the modules that a regular expression or a type means."""
    named = {path: module for path, module in model.named_modules() if path}
    if isinstance(at, str):
        pattern, names = compile_pattern(at), list(named)
        fits = {path: module for path, module in named.items() if pattern.fullmatch(path)}
    else:
        at, names, kind = at.__name__, sorted({type(module).__name__ for module in named.values()}), at
        fits = {path: module for path, module in named.items() if isinstance(module, kind)}
    if not fits:
        raise UsageError(f"no module matches {at!r}; {close_matches(at, names)}")
    return fits
