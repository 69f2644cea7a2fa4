"""Sums of two maps, in whatever form they are written: they are told by what they compute, not by what they are called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from senet.surgery import roles
from senet.surgery.graph import ModuleGraph, operands
from senet.surgery.preserve import evaluating

FEW_NUMBERS = 16
"""Parameters that a module may have and still be tried on samples."""


@dataclass(frozen=True)
class Sum:
    """Sum of two maps.

    Args:
        total: the node that gives it.
        reader: the node that reads the maps: the same one, or one that puts them on a stack.
        maps: the maps.
    """

    total: fx.Node
    reader: fx.Node
    maps: tuple[fx.Node, fx.Node]


def maps_read(node: fx.Node, is_parameter: Callable[[Any], bool]) -> list[fx.Node]:
    """Return the values that a node reads, in lists too, without those that come from no input of the container."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), lambda value: found.append(value) or value)
    return [value for value in found if not is_parameter(value)]


def sum_at(graph: ModuleGraph, node: fx.Node, is_parameter: Callable[[Any], bool]) -> Sum | None:
    """Return the sum that a node gives, or None if it gives something else.

    `a + b` and its relatives are known by name. Others (a module, a difference, an interpolation, the sum of a stack of two) are run on
    samples: they are sums if they act on both maps apart, f(a, b) = f(a, 0) + f(0, b), or on their sum alone, f(a, b) = f(a + b, 0).

    Args:
        graph: the graph.
        node: one of its nodes.
        is_parameter: whether a value comes from no input of the container.
    """
    if graph.name(node) in roles.ADD and len(inputs := operands(node)) == 2:
        return Sum(node, node, (inputs[0], inputs[1]))
    if node.op not in ("call_function", "call_method", "call_module"):
        return None
    read = maps_read(node, is_parameter)
    reader = read[0] if len(read) == 1 and graph.name(read[0]) == "stack" else node
    maps = maps_read(reader, is_parameter)
    if len(maps) != 2 or maps[0] is maps[1] or graph.name(node) in roles.MULTIPLY | roles.CONCATENATE:
        return None
    steps = [node] if reader is node else [reader, node]
    return (
        Sum(node, reader, (maps[0], maps[1])) if _is_sum(lambda *values: _run(graph, steps, dict(zip(maps, values, strict=True)))) else None
    )


def _is_sum(function: Callable[[Tensor, Tensor], Tensor | None]) -> bool:
    one = torch.linspace(-3, 3, 2 * 4 * 5 * 5).reshape(2, 4, 5, 5)
    other = one.flip(1, 2, 3).sin() + 0.1
    zero = torch.zeros_like(one)
    outcomes = [function(*pair) for pair in ((one, other), (one, zero), (zero, other), (one + other, zero), (zero, zero))]
    if any(not isinstance(outcome, Tensor) or outcome.shape != one.shape or outcome.dtype != one.dtype for outcome in outcomes):
        return False
    both, first, second, total, none = (outcome for outcome in outcomes if outcome is not None)
    apart = torch.allclose(both, first + second, atol=1e-5) and not none.any() and bool(first.any() and second.any())
    return apart or (torch.allclose(both, total, atol=1e-5) and not torch.allclose(both, first) and not torch.allclose(both, none))


def _run(graph: ModuleGraph, steps: list[fx.Node], values: Mapping[fx.Node, Tensor]) -> Tensor | None:
    """Run nodes on samples, with halves for parameters; None if they do not take them."""
    known: dict[fx.Node, Any] = {node: value.clone() for node, value in values.items()}
    with torch.no_grad():
        for node in steps:
            try:
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda value: known.get(value, torch.tensor(0.5)))
                known[node] = _called(graph, node, args, kwargs)
            except Exception:  # it wants other values
                return None
    return known[steps[-1]]


def _called(graph: ModuleGraph, node: fx.Node, args: Any, kwargs: Any) -> Any:
    module = graph.module(node)
    if module is not None:
        return _bare(module, args, kwargs)
    target: Any = node.target
    return target(*args, **kwargs) if node.op == "call_function" else getattr(args[0], target)(*args[1:], **kwargs)


def _bare(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Call a module with hardly any state; None for others."""
    state = [*module.parameters(), *module.buffers()]
    if sum(tensor.numel() for tensor in state) > FEW_NUMBERS:
        return None
    with evaluating(module):
        return module(*args, **kwargs)
