"""Symbols pass for tensors in Python only, and only while a forward is traced."""

import builtins
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.autograd import Function

from senet.surgery.symbols import TensorProxy, symbols_are_tensors
from senet.surgery.template import Leaf
from senet.surgery.trace import trace

KEPT = builtins.isinstance, inspect.getattr_static(Function, "apply")


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.script(torch.nn.functional.silu)


class Twice(Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x * 2


twice: Any = Twice.apply


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Asks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert all(isinstance(x, kinds) for kinds in (Tensor, (int, Tensor), Tensor | None))
        assert torch.is_tensor(x)
        assert not isinstance(x, nn.Parameter | int)
        return x * 2


def test_a_forward_that_asks_for_a_tensor_gets_one_and_python_is_as_before_afterwards() -> None:
    graph, _ = trace(Asks(), given={"x": Leaf.TENSOR})
    assert [node.op for node in graph.nodes] == ["placeholder", "call_function", "output"]
    assert (builtins.isinstance, inspect.getattr_static(Function, "apply")) == KEPT
    assert not issubclass(TensorProxy, Tensor)


def test_functions_work_on_tensors_while_symbols_are_about() -> None:
    with symbols_are_tensors():
        assert torch.equal(twice(torch.ones(2)), torch.full((2,), 2.0))
        assert torch.equal(Twice.apply(torch.ones(2)), torch.full((2,), 2.0))  # pyright: ignore[reportArgumentType]


def test_a_function_with_its_own_gradient_is_a_node() -> None:
    graph, _ = trace(Calls(lambda x: Twice.apply(x)), given={"x": Leaf.TENSOR})  # pyright: ignore
    assert [getattr(node.target, "__name__", "") for node in graph.nodes] == ["", "Twice", ""]


def test_code_in_c_that_is_given_a_symbol_sees_none() -> None:
    symbol = fx.Tracer().proxy(fx.Graph().placeholder("x"))
    assert TensorProxy(symbol.node, symbol.tracer).__class__ is TensorProxy  # else what follows would crash
    trace(Calls(twice), given={"x": Leaf.TENSOR})
    with pytest.raises(RuntimeError, match="TensorProxy"):
        trace(Calls(scripted()), given={"x": Leaf.TENSOR})
