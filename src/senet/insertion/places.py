"""Choose how a block gets to its place: by a wrapper, or else by rewriting the smallest container."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx, nn

from senet.insertion.rewrite import why_not_rewritten
from senet.insertion.units.unit import Cut, Unit
from senet.surgery.flow import Flow

IN_ORDER = ("chain", "depthwise")
"""Kinds whose later cuts are second best; those of the other kinds are equally good."""


@dataclass(frozen=True)
class Place:
    """Way to make a cut.

    Args:
        path: the module that is wrapped, or whose forward is rewritten.
        position: "output" or "input" of the wrapped module, or "graph".
        cut: the cut.
        best: whether it is the unit's first choice.
    """

    path: str
    position: str
    cut: Cut
    best: bool = True


class PlacementError(Exception):
    """Reason why a block cannot sit in a unit."""


def module_paths(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Return every path of every module."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    return paths


def choose_place(unit: Unit, cuts: tuple[Cut, ...], paths: Mapping[nn.Module, list[str]]) -> Place:
    """Choose the first cut that a wrapper can make, else one that the rewritten container can make.

    Raises:
        PlacementError: if neither can; it says why.
    """
    wrapped = [(cut, wrap) for cut in cuts if (wrap := _wrap(unit.flow, cut, paths)) is not None]
    if wrapped and (unit.kind not in IN_ORDER or wrapped[0][0] is cuts[0]):
        cut, (path, position) = wrapped[0]
        return Place(path, position, cut)
    reason = why_not_rewritten(unit.flow.container)
    if reason is None:
        return Place(unit.flow.container.path, "graph", cuts[0])
    if wrapped:
        cut, (path, position) = wrapped[0]
        return Place(path, position, cut, best=False)
    raise PlacementError(reason)


def _wrap(flow: Flow, cut: Cut, paths: Mapping[nn.Module, list[str]]) -> tuple[str, str] | None:
    """Return path and position of the module whose wrapper makes a cut, or None."""
    container = flow.container
    if cut.shortcut is not None:
        return None
    if _wrappable(flow, cut.node, paths) and set(cut.node.users) <= cut.users:
        return paths[flow.called(cut.node)][0], "output"
    if len(cut.users) != 1:
        return None
    (user,) = cut.users
    if _wrappable(flow, user, paths) and user.args and user.args[0] is cut.node and _occurrences(user, cut.node) == 1:
        return paths[flow.called(user)][0], "input"
    if user is flow.output and user.args[0] is cut.node and container.path:
        return container.path, "output"
    return None


def _occurrences(user: fx.Node, node: fx.Node) -> int:
    found: list[fx.Node] = []
    fx.map_arg((user.args, user.kwargs), found.append)
    return found.count(node)


def _wrappable(flow: Flow, node: fx.Node, paths: Mapping[nn.Module, list[str]]) -> bool:
    """Return whether a node calls a module that nothing else calls; one with weights may be shared, its block is then shared with them."""
    module = flow.module(node)
    if module is None or flow.calls[module] > 1:
        return False
    return len(paths[module]) == 1 or next(module.parameters(), None) is not None
