"""Optimised units by the kernels of inference: exact, with no more launches than convolutions, and left to compilers as operators."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from oracles import inference_forms
from oracles.passes import LAYOUTS
from senet.ops.inference.operators import activate_squeeze_op, excite_join_op, squeeze_op
from senet.ops.passes.partial_gate import Division

pytest.importorskip("triton")

Interpret = Callable[..., Any]

ACTIVATE, SQUEEZE, JOIN = "activate_squeeze", "activate_squeeze", "excite_join"
UNITS = [  # network, unit, shape, launches behind its convolutions; of those, how many a compiler leaves
    ("se_resnet50", "layer1.0", (2, 64, 4, 5), [JOIN, ACTIVATE, JOIN], 2),
    ("se_resnet50", "layer1.1", (1, 256, 3, 3), [JOIN, ACTIVATE, JOIN], 2),
    ("resnet50", "layer1.0", (1, 64, 4, 5), [JOIN, JOIN, JOIN], 0),
    ("se_resnext50_32x4d", "layer1.1", (1, 256, 3, 2), [JOIN, ACTIVATE, JOIN], 2),
    ("se_resnet18", "layer2.0", (1, 64, 6, 6), [JOIN, SQUEEZE, JOIN], 2),
    ("se_preresnet20", "layer1.1", (2, 16, 6, 6), [JOIN, SQUEEZE, JOIN], 2),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "path", "shape", "launches", "left"), UNITS, ids=str)
def test_units(interpret: Interpret, name: str, path: str, shape: tuple[int, ...], launches: list[str], left: int, layout: str) -> None:
    for compiled, wanted in ((False, launches), (True, launches[len(launches) - left :])):
        if compiled and layout == "NCHW":
            continue
        error, found = interpret(by_name, name, path, shape, compiled, layout)
        assert error < 1e-12
        assert found == wanted


def by_name(name: str, path: str, shape: tuple[int, ...], compiled: bool, layout: str) -> tuple[float, list[str]]:
    return inference_forms.by_name(name, path, shape, compiled=compiled, layout=LAYOUTS[layout])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_blocks_behind_no_convolution(interpret: Interpret, alone: bool, compiled: bool) -> None:
    error, found = interpret(inference_forms.lean, alone, compiled)
    assert error < 1e-12
    assert found[-2:] == [SQUEEZE, JOIN]


@pytest.mark.parametrize(("seen", "launches"), [(False, [ACTIVATE, JOIN]), (True, [JOIN, JOIN, SQUEEZE, JOIN])])
def test_what_lies_between_and_what_others_see(interpret: Interpret, seen: bool, launches: list[str]) -> None:
    error, found = interpret(inference_forms.interrupted, seen)
    assert error < 1e-12
    assert found == launches


def test_shortcuts_that_are_broadcast(interpret: Interpret) -> None:
    assert interpret(inference_forms.shortcut_to_broadcast) < 1e-12


def test_images_with_a_gradient(interpret: Interpret) -> None:
    assert interpret(inference_forms.gradient_of_the_image) < 1e-12


def test_a_compiler_sees_two_operators_a_unit_and_an_export_none(interpret: Interpret) -> None:
    assert interpret(inference_forms.operators_seen) == [("senet.activate_squeeze.default", "senet.excite_join.default"), ()]


DRAWN = (torch.randn(2, 9, 3, 5), torch.randn(9), torch.randn(4, 9))
REST = (torch.randn(4), torch.randn(9, 4), torch.randn(9), "tanh", 0.5, torch.randn(2, 9, 3, 5), torch.randn(9), True, "reference")


def test_operators_keep_the_rules() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        c = DRAWN[0].contiguous(memory_format=layout)
        torch.library.opcheck(activate_squeeze_op, (c, *DRAWN[1:], *Division(16, 2), True, "reference"))
        torch.library.opcheck(squeeze_op, (c, *DRAWN[1:], *Division(16, 2), "reference"))
        torch.library.opcheck(excite_join_op, (c, DRAWN[1], torch.randn(2, 3, 4), *REST))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # Inductor of torch 2.11 itself
def test_operators_in_generated_code() -> None:
    def end(c: torch.Tensor) -> torch.Tensor:
        x, parts = activate_squeeze_op(c + 1, *DRAWN[1:], *Division(16, 2), True, "reference")
        return excite_join_op(x * 2, DRAWN[1], parts, *REST) - 1

    found = torch.compile(end, fullgraph=True, dynamic=False)(DRAWN[0])
    torch.testing.assert_close(found, end(DRAWN[0]), rtol=1e-5, atol=1e-5)
