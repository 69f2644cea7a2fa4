"""Hooks listen while a block of code runs, and are gone afterwards, also when it fails."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from senet.ops.hooks import has_hooks
from senet.surgery.hooks import hooked


class Scale(nn.Module):
    def forward(self, x: Tensor, *, factor: float = 1.0) -> Tensor:
        return x * factor


def test_calls_are_seen_in_order_with_all_arguments() -> None:
    first, second = Scale(), Scale()
    log: list[tuple[str, Any]] = []

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        log.append(("after", output.item()))

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        log.append(("before", kwargs))

    with hooked(iter((first, second)), after, before):
        second(first(torch.ones(()), factor=3.0), factor=2.0)
    assert log == [("before", {"factor": 3.0}), ("after", 3.0), ("before", {"factor": 2.0}), ("after", 6.0)]
    assert not has_hooks(first)
    assert not has_hooks(second)


def test_an_output_can_be_replaced() -> None:
    module = Scale()
    with hooked([module], lambda module, args, output: output + 1):
        assert module(torch.ones(())) == 2
    assert module(torch.ones(())) == 1


def test_hooks_are_taken_off_when_a_call_fails() -> None:
    module = Scale()
    with pytest.raises(TypeError), hooked([module], print, print):
        module(torch.ones(()), power=2)
    assert not has_hooks(module)
