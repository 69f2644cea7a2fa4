"""The Triton kernels that gate positions agree with the definition: interpreted, compiled for sm_90 without a device, and on one."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from oracles import ahead_of_time, spatial_passes, tail_passes
from oracles.passes import LAYOUTS
from oracles.spatial_passes import SHORTCUTS
from oracles.tail_passes import LIMITS, Case, check

pytest.importorskip("triton")

CASE = Case(None, None, None, True)
FORMS = [  # the shortcut, whether channels are gated too, ReLU
    ("none", False, False),
    ("identity", True, True),
    ("projected", False, True),
    ("projected", True, False),
]
TAILS = [Case("batch", "batch", "sigmoid", True), Case("running", None, None, True)]

Interpret = Callable[..., Any]


class TestInterpreted:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("shortcut", "gated", "relu"), FORMS, ids=str)
    def test_equals_the_definition(self, interpret: Interpret, shortcut: str, gated: bool, relu: bool, layout: str) -> None:
        case = replace(CASE, layout=layout, relu=relu)
        check(case, interpret(spatial_passes.errors, case, shortcut, gated))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("shape", [(1, 9, 7, 3), (3, 5, 1, 1), (1, 1, 5, 5), (3, 17, 5, 7), (1, 16, 4, 4)], ids=str)
    def test_shapes(self, interpret: Interpret, shape: tuple[int, int, int, int], layout: str) -> None:
        case = replace(CASE, shape=shape, layout=layout)
        check(case, interpret(spatial_passes.errors, case, "projected", True))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_types(self, interpret: Interpret, dtype: torch.dtype, layout: str) -> None:
        case = replace(CASE, dtype=dtype, layout=layout, tiling=None)
        check(case, interpret(spatial_passes.errors, case, "identity", True))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("tail", TAILS, ids=["scse", "sse"])
    def test_whole_tails(self, interpret: Interpret, tail: Case, layout: str) -> None:
        case = replace(tail, layout=layout)
        check(case, interpret(spatial_passes.tail_errors, case))

    @pytest.mark.parametrize("channels", [9, 33])
    def test_repeats_bit_by_bit(self, interpret: Interpret, channels: int) -> None:
        assert interpret(spatial_passes.repeats, replace(CASE, dtype=torch.float32, shape=(2, channels, 3, 3)))


KERNELS = {"apply_positions", "reduce_positions", "spread_positions"}

SPILL = {"NHWC": 8, "NCHW": 16}
"""Bytes of stack that are let pass: a value or two for which ptxas gets more programs on a processor; contiguous maps are read element by
element, with an address each, where S is odd."""


class TestCompiled:
    def test_nothing_spills(self, compiled: list[tuple[str, Any]], tmp_path: Path) -> None:
        self.check_spills((2, 256, 56, 56), "NHWC", torch.bfloat16, compiled, tmp_path)
        for kernel_name, kernel in compiled:
            if kernel_name in KERNELS:
                assert re.search(r"ld\.global\.v4", kernel.asm["ptx"]), kernel_name

    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_nothing_spills_in(self, compiled: list[tuple[str, Any]], tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
        for shape in ((2, 256, 56, 56), (2, 512, 14, 14), (2, 2048, 7, 7), (1, 2100, 3, 3)):
            self.check_spills(shape, layout, dtype, compiled, tmp_path)

    def check_spills(self, shape: Any, layout: str, dtype: torch.dtype, compiled: list[tuple[str, Any]], folder: Path) -> None:
        compiled.clear()
        case = Case(None, None, None, True, shape=shape, layout=layout, dtype=dtype, tiling=None)
        spatial_passes.launch_all(tail_passes.kernels(None), case)
        assert {kernel_name for kernel_name, _ in compiled} >= KERNELS
        assert not ahead_of_time.spilt(compiled, folder, SPILL[layout]), shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"), reason="TRITON_INTERPRET is set")
class TestOnDevice:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("dtype", LIMITS, ids=str)
    @pytest.mark.parametrize("shortcut", SHORTCUTS)
    def test_equals_the_definition(self, shortcut: str, dtype: torch.dtype, layout: str) -> None:
        for shape in ((2, 9, 5, 7), (1, 1, 5, 5), (2, 33, 3, 5), (4, 256, 56, 56), (4, 2048, 7, 7), (2, 2100, 7, 7)):
            case = replace(tail_passes.on(CASE, "cuda"), shape=shape, dtype=dtype, layout=layout)
            check(case, spatial_passes.errors(case, shortcut, True), partial(spatial_passes.errors, case, shortcut, True))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_whole_tails(self, layout: str) -> None:
        case = replace(tail_passes.on(TAILS[0], "cuda"), shape=(4, 96, 14, 14), dtype=torch.float32, layout=layout)
        check(case, spatial_passes.tail_errors(case), partial(spatial_passes.tail_errors, case))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_repeats_bit_by_bit(self, layout: str) -> None:
        assert spatial_passes.repeats(replace(tail_passes.on(CASE, "cuda"), shape=(8, 96, 57, 57), dtype=torch.bfloat16, layout=layout))

    def test_passes_in_a_graph(self) -> None:
        assert spatial_passes.in_a_graph(replace(tail_passes.on(CASE, "cuda"), shape=(8, 64, 14, 14), dtype=torch.bfloat16))
