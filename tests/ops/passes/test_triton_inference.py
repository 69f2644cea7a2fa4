"""The passes of inference agree with their definition: in Triton's interpreter, compiled for sm_90 without a device, and on one."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time, inference_passes
from oracles.inference_passes import LIMITS, Case, check
from oracles.passes import LAYOUTS
from senet.ops.passes.partial_gate import MOST_BLOCKS, MOST_PARTS, PartialGate, division_of
from senet.ops.passes.terms import Shortcut
from senet.ops.reference import GATE

pytest.importorskip("triton")

Interpret = Callable[..., Any]

FORMS = [
    Case(),
    Case(gate="tanh", shortcut="projected", gain=0.1),
    Case(gate="relu", bias=False, shortcut=None, relu=False),
    Case(gate="hard_sigmoid", gain=2.0),
    Case(gate=None, shortcut="projected"),
    Case(gate=None, shortcut=None),
]
SHAPES = [((1, 1, 1, 1), 1), ((1, 33, 3, 5), 70), ((3, 130, 2, 1), 20), ((1, 5, 23, 9), 3), ((2, 64, 16, 16), 16)]


class TestInterpreted:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("form", FORMS, ids=str)
    def test_equals_the_definition(self, interpret: Interpret, form: Case, layout: str) -> None:
        case = replace(form, layout=layout)
        check(case, interpret(inference_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("shape", "hidden"), SHAPES, ids=str)
    def test_shapes(self, interpret: Interpret, shape: tuple[int, int, int, int], hidden: int, layout: str) -> None:
        case = Case(shape=shape, hidden=hidden, layout="NCHW" if shape[1:] == (1, 1, 1) else layout)
        check(case, interpret(inference_passes.errors, case))

    @pytest.mark.parametrize("division", [(16, 1), (16, 4), (64, 2)], ids=str)
    def test_parts(self, interpret: Interpret, division: tuple[int, int]) -> None:
        case = Case(shape=(2, 40, 7, 9), division=division)  # of four spans of 16 positions the last has 15; of 64 channels 40 exist
        check(case, interpret(inference_passes.errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("weights", [None, torch.bfloat16], ids=str)
    def test_types(self, interpret: Interpret, dtype: torch.dtype, weights: torch.dtype | None, layout: str) -> None:
        case = Case(shortcut="projected", dtype=dtype, weights=weights, layout=layout)
        check(case, interpret(inference_passes.errors, case))

    def test_many_images_share_a_program(self, interpret: Interpret) -> None:
        case = Case(shape=(7, 20, 3, 3))  # two blocks of channels: three images a program, and one that has only the seventh
        check(case, interpret(inference_passes.errors_of_shared_programs, case, 4))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_in_place(self, interpret: Interpret, layout: str) -> None:
        assert interpret(inference_passes.in_place, Case(layout=layout))


@pytest.mark.parametrize("images", [1, 2, 16, 256, 4096])
def test_cuts(images: int) -> None:
    for channels in (1, 48, 64, 100, 512, 2048, 5000):
        for positions in (1, 49, 3136):
            division = division_of(images, channels, positions)
            assert division.channels in (16, 32, 64) or channels > 64 * MOST_BLOCKS
            assert division.parts(channels) <= MOST_PARTS


RESNET50 = [((64, 56), 16, (256, 56)), ((128, 28), 32, (512, 28)), ((256, 14), 64, (1024, 14)), ((512, 7), 128, (2048, 7))]
"""Channels and side of the map behind the 3x3 convolution, hidden units, and channels and side of the unit's output, of each stage."""


def launch_all(images: int, layout: str, dtype: torch.dtype) -> None:
    """Launch both passes on the maps of ResNet-50."""
    passes, wide = inference_passes.kernels(), torch.promote_types(dtype, torch.float32)
    for (inner, side), hidden, (outer, _) in RESNET50:
        c = torch.empty(images, inner, side, side, dtype=dtype, memory_format=LAYOUTS[layout])
        y = torch.empty(images, outer, side, side, dtype=dtype, memory_format=LAYOUTS[layout])
        w1, w2 = torch.empty(hidden, inner, dtype=wide), torch.empty(outer, hidden, dtype=wide)
        bias, of_y = torch.empty(inner, dtype=dtype), torch.empty(outer, dtype=dtype)
        for out in (c, None):
            parts = passes.activate_squeeze(c, bias, w1, division_of(images, inner, side * side), relu=True, out=out)
        gate = PartialGate(parts, w1[:, 0].contiguous(), w2, of_y, "sigmoid")
        for shortcut in (Shortcut(y), Shortcut(y, shift=of_y)):
            passes.excite_join(y, of_y, gate, shortcut, relu=True, out=y)
        passes.excite_join(y, of_y, None, None, relu=True, out=y)


class TestCompiled:
    @pytest.mark.parametrize("images", [1, 256])
    def test_channels_last_spills_nothing_and_moves_128_bits(self, compiled: list[tuple[str, Any]], tmp_path: Path, images: int) -> None:
        launch_all(images, "NHWC", torch.bfloat16)
        assert not ahead_of_time.spilt(compiled, tmp_path, 0)
        for name, kernel in compiled:
            moves = re.findall(r"(?:ld|st)\.global\S*", kernel.asm["ptx"])
            assert any(move.startswith("ld.global.v4") for move in moves), (name, moves)
            assert name != "excite_join" or any(move.startswith("st.global.v4") for move in moves), (name, moves)

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_nothing_spills(self, compiled: list[tuple[str, Any]], tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
        for images in (1, 16, 256):
            launch_all(images, layout, dtype)
        assert not ahead_of_time.spilt(compiled, tmp_path, 16 if layout == "NCHW" else 0)

    @pytest.mark.parametrize("gate", GATE)
    def test_gates_of_odd_maps(self, compiled: list[tuple[str, Any]], gate: str) -> None:
        y, parts = torch.empty(3, 33, 3, 1, dtype=torch.float64), torch.empty(3, 3, 5, dtype=torch.float64)
        passes = inference_passes.kernels()
        passes.excite_join(y, None, PartialGate(parts, None, torch.empty(33, 5), None, gate, 0.1), None, relu=False, out=y)
        assert all(kernel.asm["cubin"] for _, kernel in compiled)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"), reason="TRITON_INTERPRET is set")
class TestOnDevice:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    def test_equals_the_definition(self, dtype: torch.dtype, layout: str) -> None:
        large = [((1, 512, 7, 7), 128), ((64, 512, 7, 7), 128), ((256, 2048, 7, 7), 128), ((8, 64, 56, 56), 16)]
        shapes = [((2, 9, 5, 7), 5), *SHAPES[1:], *large]
        for form in FORMS:
            for shape, hidden in shapes if form is FORMS[0] else shapes[:2]:
                case = replace(form, shape=shape, hidden=hidden, dtype=dtype, layout=layout, device="cuda")
                check(case, scaled(case, inference_passes.errors(case)))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_in_place(self, layout: str) -> None:
        assert inference_passes.in_place(Case(shape=(8, 96, 57, 57), hidden=20, dtype=torch.bfloat16, layout=layout, device="cuda"))


def scaled(case: Case, found: dict[str, float]) -> dict[str, float]:
    """Return errors as shares of what sums over this many hidden units amount to."""
    return {key: error / max(1.0, (case.hidden / 16) ** 0.5) for key, error in found.items()}
